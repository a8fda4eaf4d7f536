"""Engine files, their folders and the identity of their checkpoint."""
