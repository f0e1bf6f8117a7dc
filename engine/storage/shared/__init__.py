"""One DuckDB file, several programs: the one that owns it serves the others over loopback HTTP."""
