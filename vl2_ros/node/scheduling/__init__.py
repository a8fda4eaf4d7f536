"""What the node does next: queue, watches, attempts."""
