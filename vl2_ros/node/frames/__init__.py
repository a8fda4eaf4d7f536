"""Frames in space: lookups by tf2's rules, and the target frame of results."""
