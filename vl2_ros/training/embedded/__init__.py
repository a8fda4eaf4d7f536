"""Training of the embedded model on simulator frames: all of it, or its language side alone."""
