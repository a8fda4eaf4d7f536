"""Simulated household scenes as data: tar shards, words for the kinds, commands and questions."""
