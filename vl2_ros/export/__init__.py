"""Graphs to engine files of other libraries and machines, built, checked and kept."""
