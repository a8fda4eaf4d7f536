"""Recipes: what a training run does, as strictly read YAML; the files here come with the package."""
