"""`verify`: index, state, topics, DuckDB and dump held against each other."""
