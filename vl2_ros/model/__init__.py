"""The network: tensors in, tensors out; torch and transformers, no image files."""
