"""Floor 2: PyPI's side. The port (`source`), the HTTP client, a stand-in for tests and demo."""
