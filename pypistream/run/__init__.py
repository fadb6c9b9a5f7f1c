"""The pipeline of one process, its roles as processes of their own, and the demo."""
