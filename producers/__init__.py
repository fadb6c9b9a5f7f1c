"""Floor 3: from PyPI's journal and index to events and asks."""
