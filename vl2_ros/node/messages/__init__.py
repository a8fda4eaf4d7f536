"""Typed values to and from ROS messages."""
