"""`/v1/stream/…`: live changes and documents as server-sent events."""
