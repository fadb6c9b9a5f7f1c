"""The page for people: HTML that works without a script, and what it shows."""
