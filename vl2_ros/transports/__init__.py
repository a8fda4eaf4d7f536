"""Carries messages and no meaning: in memory, on plain DDS, on ROS 2."""
