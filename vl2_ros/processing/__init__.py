"""Both sides of the network in numpy, OpenCV and Pillow."""
