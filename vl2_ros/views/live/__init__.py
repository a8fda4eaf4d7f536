"""The live page: an HTTP and WebSocket server, what it sends and what it accepts."""
