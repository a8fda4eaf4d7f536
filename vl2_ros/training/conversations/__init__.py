"""Train the whole network on any mixture of conversations."""
