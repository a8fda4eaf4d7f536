"""The language model on an engine."""
