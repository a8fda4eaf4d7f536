from __future__ import annotations

import pytest

from vl2_ros.console import options


@pytest.mark.parametrize(
    "place", ["/vl2_ros/console/options.py", "/a/b/c/vl2_ros/console/options.py"]
)
def test_a_working_copy_that_is_not_installed_has_no_version(monkeypatch, place):
    monkeypatch.setattr(options, "find_package_version", lambda *names: None)
    monkeypatch.setattr(options, "__file__", place)
    assert options.find_version() == "unknown"
