"""The commands of `vl2 eval`."""
