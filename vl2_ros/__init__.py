"""Language-driven perception for robots: VisionLLM v2 as a node, a library and a command."""
