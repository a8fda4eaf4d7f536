"""What is computed around the model: timed against plain forms of the same."""
