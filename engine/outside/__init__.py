"""Adapters to services outside of the engine. Each is used through its own module."""
