"""Training of the embedded model's vision tower: dense labels of kind, colour and centre on its tokens."""
