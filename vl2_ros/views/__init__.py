"""Views of results for people and other programs: overlays and JSON."""
