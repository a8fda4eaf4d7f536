"""Export at the released size: ranges that hold its prompts, weights that stay in their files."""
