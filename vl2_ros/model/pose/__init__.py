"""The pose decoder."""
