"""Message transports: in memory, plain DDS and ROS 2. They know nothing of what messages mean."""
