"""Frames and sentences to learn from."""
