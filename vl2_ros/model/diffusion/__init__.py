"""The diffusion decoder: image generation and editing."""
