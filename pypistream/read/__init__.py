"""Commands that only read: follow, query, dead letters, topics."""
