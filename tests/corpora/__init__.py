"""Tests against files of other programs. The files stand beside the project, not in it."""
