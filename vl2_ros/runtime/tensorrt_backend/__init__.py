"""Inference backends: TensorRT and TensorRT for RTX."""
