"""Floor 2: the log port, its adapters, and what every stage shares to read and write it."""
