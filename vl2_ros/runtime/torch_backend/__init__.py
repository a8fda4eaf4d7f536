"""Inference backend: PyTorch."""
