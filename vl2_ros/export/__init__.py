"""Export graphs as engine files for other libraries and machines, check and store them."""
