"""Tracking: the same object under the same id over the frames of a watch."""
