"""Views of results for people and other programs: overlays, JSON, the live page."""
