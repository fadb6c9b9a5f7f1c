"""A stand-in for the index on loopback: synthetic projects, a living journal, faults on demand.

`settings.StandinSettings` says what it is like, `server.serve` runs it, `app.build_app` makes it
for use in one process. `python -m upstream.standin` runs it alone.
"""
