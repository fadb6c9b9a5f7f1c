"""Floor 3: materialised views of the topics: DuckDB, dumps, and the HTTP service's view."""
