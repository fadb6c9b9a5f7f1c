"""Floor 1, what travels: records, topics, codec, names, errors, and their JSON Schemas."""
