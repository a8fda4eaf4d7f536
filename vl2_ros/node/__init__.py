"""The node without ROS, DDS and torch: requests in, typed results out."""
