"""Questions about a scene whose answers are equally likely."""
