"""Floor 4: command line, settings, wiring (the only module that names adapters), roles, demo."""
