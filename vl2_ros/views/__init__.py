"""Results as people and other programs see them: overlays and JSON."""
