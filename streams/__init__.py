"""Floor 2: the log port, its adapters, and what all stages share to read and write the log."""
