"""Images to what the networks take, and back."""
