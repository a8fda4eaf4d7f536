"""Deformable attention over maps of several strides."""
