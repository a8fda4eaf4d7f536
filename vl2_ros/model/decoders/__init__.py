"""Shared by the detection and pose decoders: scene, queries, transformer, targets, losses."""
