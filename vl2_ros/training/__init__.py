"""Training: recipes, the loop that runs them, and what they optimise."""
