"""Commands that read: follow, query, dead letters, topics."""
