"""What an answer costs: stages, watches, and networks of the same size in other libraries."""
