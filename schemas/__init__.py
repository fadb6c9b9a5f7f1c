"""Floor 1: what travels. Records, topics, codec, names, errors, and the JSON Schemas for readers in any language."""
