# The node on ROS 2 Jazzy, with the embedded model on the CPU; from the root of the repository:
#   docker build --file docker/ros-jazzy.Dockerfile --tag vl2:jazzy .
#   docker run --rm --network host --ipc host vl2:jazzy image:=/camera/image_raw
FROM ros:jazzy-ros-base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /opt/workspace
COPY . src/vl2_ros
# What rosdep knows comes from apt, the rest from pip into an environment that sees both.
# hadolint ignore=DL3008,SC1091
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv ros-jazzy-rmw-cyclonedds-cpp \
    && rosdep update --rosdistro jazzy \
    && rosdep install --from-paths src --ignore-src --rosdistro jazzy --default-yes \
        --skip-keys "rviz2" \
    && python3 -m venv --system-site-packages /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir './src/vl2_ros[dds]' \
    && /opt/venv/bin/pip uninstall --yes vl2_ros \
    && source /opt/ros/jazzy/setup.bash \
    && colcon build --packages-select vl2_ros \
    && rm -rf /var/lib/apt/lists/* build log
ENV PYTHONPATH=/opt/venv/lib/python3.12/site-packages
RUN useradd --create-home --uid 1001 vl2
USER 1001
ENTRYPOINT ["/ros_entrypoint.sh", "/bin/bash", "-c", \
    "source install/setup.bash && exec ros2 launch vl2_ros perception.launch.py \"$@\"", "vl2"]
