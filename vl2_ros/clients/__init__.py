"""The client of a node, and the demo."""
