"""Inference backend: TensorRT."""
