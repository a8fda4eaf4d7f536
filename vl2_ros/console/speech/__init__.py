"""Commands that hear: what is heard, the level meter, a spoken question about an image."""
