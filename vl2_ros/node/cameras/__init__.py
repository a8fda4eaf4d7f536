"""Camera topics to stored images, their calibration and their depth."""
