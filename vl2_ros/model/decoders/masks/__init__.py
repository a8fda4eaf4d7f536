"""Mask features and mask losses."""
