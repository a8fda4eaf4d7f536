"""Questions about a scene whose answers are equally likely, and which words carry the answer."""
