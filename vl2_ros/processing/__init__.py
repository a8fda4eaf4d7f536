"""Pre- and post-processing of the networks in numpy, OpenCV and Pillow."""
