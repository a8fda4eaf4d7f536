"""Training of the embedded model's vision tower on labels of its tokens."""
