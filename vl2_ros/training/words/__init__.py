"""Training of the embedded model's answers in words: looking up what a question names."""
