"""Outputs of the decoders to instances, poses and places in space."""
