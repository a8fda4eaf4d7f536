"""Plain DDS with the names, types and bytes of ROS 2."""
