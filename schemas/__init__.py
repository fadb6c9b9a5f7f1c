"""Floor 1: what travels. Records, topics, codec, names, errors, and their published JSON Schemas."""
