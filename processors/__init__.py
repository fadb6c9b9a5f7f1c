"""Floor 3: from events and asks to the latest metadata of every project."""
