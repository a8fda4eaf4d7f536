"""File formats of answers for labelling, training and tables."""
