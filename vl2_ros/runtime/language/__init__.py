"""The language model as calls of an engine."""
