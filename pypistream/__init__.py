"""Floor 4: the command. Settings, wiring (the only place that knows an adapter), roles, demo."""
