"""Evaluations of the field: which data they read, what is asked, how it is scored."""
