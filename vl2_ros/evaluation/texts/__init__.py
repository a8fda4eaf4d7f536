"""Scores of answers in words: chosen letters, short answers, captions."""
