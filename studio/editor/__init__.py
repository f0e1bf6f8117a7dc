"""The editor: one model on a canvas, changed by edits, judged as it changes and run as it stands."""
