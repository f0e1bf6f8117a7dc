"""The engine among its peers: `python -m tests.peers` runs the shared benchmark with our adapter in it."""
