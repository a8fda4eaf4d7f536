"""Hearing: audio messages in, what was heard out, and what the node does about it."""
