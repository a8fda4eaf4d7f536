"""Cameras: stored images of their topics, with calibration and depth."""
