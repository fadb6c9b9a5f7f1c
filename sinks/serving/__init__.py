"""The HTTP service's view: a sink that keeps it in SQLite."""
