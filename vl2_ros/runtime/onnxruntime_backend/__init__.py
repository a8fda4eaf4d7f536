"""Inference backend: ONNX Runtime."""
