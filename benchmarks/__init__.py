"""Measurements; each module runs alone: `python -m benchmarks.NAME`."""
