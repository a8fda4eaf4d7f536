"""Bags and MCAP files, read and written."""
