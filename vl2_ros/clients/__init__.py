"""Who asks a node: the client and the demo."""
