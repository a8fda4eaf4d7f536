"""What executes graphs: the engine seam, inference backends, loops over engines."""
