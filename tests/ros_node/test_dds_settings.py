"""Settings of DDS for launched processes: the package's, unless the user has own ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from vl2_ros.ros_node.dds_settings import choose_dds_settings

FOLDER = Path("/opt/vl2/launch")
CYCLONE = {"CYCLONEDDS_URI": "file:///opt/vl2/launch/cyclonedds.xml"}
FAST = dict.fromkeys(
    ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"),
    "/opt/vl2/launch/fastdds.xml",
)


@pytest.mark.parametrize("environment", [{}, {"CYCLONEDDS_URI": ""}, {"ROS_LOCALHOST_ONLY": "1"}])
def test_settings_are_those_of_the_package(tmp_path, environment):
    assert choose_dds_settings(environment, FOLDER, tmp_path) == CYCLONE | FAST


def test_own_settings_of_cyclone_stay(tmp_path):
    environment = {"CYCLONEDDS_URI": "<CycloneDDS/>"}
    assert choose_dds_settings(environment, FOLDER, tmp_path) == FAST


@pytest.mark.parametrize(
    "environment",
    [
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "mine.xml"},
        {"FASTDDS_DEFAULT_PROFILES_FILE": "mine.xml"},
        {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"},
        {"ROS_DISTRO": "humble", "ROS_LOCALHOST_ONLY": "1"},
    ],
)
def test_own_settings_of_fast_dds_stay(tmp_path, environment):
    assert choose_dds_settings(environment, FOLDER, tmp_path) == CYCLONE


@pytest.mark.parametrize("name", ["DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml"])
def test_profiles_in_the_working_folder_are_the_users(tmp_path, name):
    (tmp_path / name).write_text("<dds/>")
    assert choose_dds_settings({}, FOLDER, tmp_path) == CYCLONE
