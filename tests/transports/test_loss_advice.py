"""Advice about lost images names the file and the variable of the middleware in use."""

from __future__ import annotations

import pytest

from vl2_ros.transports.loss_advice import WANTED_BUFFER, advise_dds, advise_rmw


@pytest.mark.parametrize(
    ("rmw", "file", "variable"),
    [
        ("rmw_cyclonedds_cpp", "launch/cyclonedds.xml", "CYCLONEDDS_URI"),
        ("rmw_fastrtps_cpp", "launch/fastdds.xml", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("rmw_fastrtps_dynamic_cpp", "launch/fastdds.xml", "FASTRTPS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_ros_names_the_file_of_its_middleware(rmw, file, variable):
    both = advise_rmw(rmw, {}, WANTED_BUFFER)
    assert both.endswith(f"the camera's driver with {file} of vl2_ros in {variable}")
    assert "start this node, as perception.launch.py does" in both
    camera = advise_rmw(rmw, {variable: "file:///mine.xml"}, WANTED_BUFFER)
    assert camera == (
        f"this node has the settings of {variable}; start the camera's driver with {file} of "
        f"vl2_ros in {variable}"
    )


def test_the_variable_of_fast_dds_3_counts():
    advice = advise_rmw("rmw_fastrtps_cpp", {"FASTDDS_DEFAULT_PROFILES_FILE": "a"}, WANTED_BUFFER)
    assert advice.startswith("this node has the settings of FASTDDS_DEFAULT_PROFILES_FILE")


def test_other_middleware_is_named():
    assert "rmw_zenoh_cpp" in advise_rmw("rmw_zenoh_cpp", {"CYCLONEDDS_URI": "a"}, 1)


def test_plain_dds_points_to_the_cameras_side():
    advice = advise_dds(WANTED_BUFFER)
    assert advice.startswith("this node has room for images; start the camera's driver with ")
    assert "launch/fastdds.xml" in advice and "launch/cyclonedds.xml" in advice
    assert "sysctl" not in advice and advise_dds(None) == advice


@pytest.mark.parametrize(
    "advise", [advise_dds, lambda size: advise_rmw("rmw_fastrtps_cpp", {}, size)]
)
def test_what_a_system_must_allow_is_named(advise):
    assert "allows buffers of 212992 bytes only: sysctl -w net.core.rmem_max=4194304" in advise(
        212992
    )
