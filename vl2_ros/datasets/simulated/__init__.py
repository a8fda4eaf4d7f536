"""Samples about simulated scenes: poses by free names, and things that are pointed at."""
