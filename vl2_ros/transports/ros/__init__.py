"""ROS 2 through rclpy: publishers, subscriptions and the threads that spin them."""
