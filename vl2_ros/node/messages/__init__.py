"""Conversion between typed values and ROS messages."""
