"""The DuckDB file: its tables, the sink that keeps them up to date, queries, and exports."""
