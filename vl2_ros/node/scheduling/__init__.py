"""Scheduling: queue, watches and attempts."""
