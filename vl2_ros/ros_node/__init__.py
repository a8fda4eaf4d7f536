"""The lifecycle node of ROS 2: parameters, bond, action, process, launch files."""
