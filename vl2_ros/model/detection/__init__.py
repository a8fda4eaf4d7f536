"""The detection and segmentation decoder."""
