"""Quantised language models: rounding of weights, rewriting of graphs, commands to compare."""
