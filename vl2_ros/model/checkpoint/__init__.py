"""Checkpoint folders: the released layout and ours, read and written."""
