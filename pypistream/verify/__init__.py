"""`verify`: compares index, state, topics, DuckDB file and dump with each other."""
