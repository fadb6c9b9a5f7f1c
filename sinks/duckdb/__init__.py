"""The DuckDB file: its tables, the sink that keeps them, queries, what is exported from it."""
