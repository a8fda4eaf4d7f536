"""Image processing: inputs of the networks from images, and images from their outputs."""
