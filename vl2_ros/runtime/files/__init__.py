"""Engine files, their folders and what they were made from."""
