"""Execution of graphs: the engine interface, inference backends, loops over engines."""
