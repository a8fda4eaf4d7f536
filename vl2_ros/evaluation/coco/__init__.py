"""COCO results against annotations: reading, checking, preparing and counting."""
