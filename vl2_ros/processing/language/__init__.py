"""Sentences to prompts, token ids to answers."""
