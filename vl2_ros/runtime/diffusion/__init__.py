"""The denoising loop over engines."""
