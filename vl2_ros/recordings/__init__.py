"""Read and write bags and MCAP files."""
