"""Results: instances, poses and positions in space from the outputs of the decoders."""
