"""The commands of `vl2 data`."""
