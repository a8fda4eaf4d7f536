"""Recipes: strictly read YAML that says what a training run does; files of the package are here."""
