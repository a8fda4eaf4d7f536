"""ROS 2 through rclpy."""
