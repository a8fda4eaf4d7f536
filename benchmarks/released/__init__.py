"""The released size with random weights: a checkpoint, and what an answer of it takes."""
