"""The view that the HTTP service answers from: a sink in SQLite."""
