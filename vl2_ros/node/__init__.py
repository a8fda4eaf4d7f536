"""What answers, without ROS, DDS and torch: requests in, typed results out."""
