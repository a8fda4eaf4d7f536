"""A perceiver in a process of its own, watched and restarted."""
