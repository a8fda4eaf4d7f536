"""The language side: tokens, super link, vision encoder, projector, region encoder."""
