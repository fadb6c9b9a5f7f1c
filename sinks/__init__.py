"""Floor 3: what materialises the topics: DuckDB and dumps."""
