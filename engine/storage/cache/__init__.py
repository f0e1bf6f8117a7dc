"""Reads kept for a while: in this process, or in Redis for several. Losing one costs time, never truth."""
