"""Evaluation of the modes of a watch."""
