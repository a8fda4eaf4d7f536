"""The list of plans that may be loaded."""

from __future__ import annotations

import pytest

from vl2_ros.errors import EngineError
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans, find_trust_file

PLAN, OTHER = "a" * 64, "b" * 64


def test_nothing_is_trusted_by_default(tmp_path):
    trusted = TrustedPlans(tmp_path / "new" / "list")
    assert PLAN not in trusted
    with pytest.raises(EngineError, match=f"x.plan was not built.*vl2 engines trust {PLAN}"):
        trusted.require(PLAN, tmp_path / "x.plan")
    assert trusted.add(PLAN, "from the build\nserver")
    trusted.require(PLAN, tmp_path / "x.plan")
    assert OTHER not in trusted
    assert trusted.path.read_text() == f"{PLAN}  from the build server\n"


def test_a_plan_is_listed_once_and_others_stay(tmp_path):
    trusted = TrustedPlans(tmp_path / "list")
    assert trusted.add(PLAN) and trusted.add(OTHER)
    assert not trusted.add(PLAN.upper())
    assert trusted.path.read_text().split() == [PLAN, OTHER]
    assert PLAN in TrustedPlans(tmp_path / "list")


def test_a_profile_may_name_further_plans(tmp_path):
    assert OTHER in TrustedPlans(tmp_path / "list", [OTHER])


@pytest.mark.parametrize("sha256", ["", "abc", PLAN + "a", "g" * 64, PLAN[:-1] + "\n"])
def test_what_is_no_hash_is_not_listed(tmp_path, sha256):
    with pytest.raises(EngineError, match="64 hexadecimal digits"):
        TrustedPlans(tmp_path / "list").add(sha256)
    assert not (tmp_path / "list").exists()


def test_the_list_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert find_trust_file() == tmp_path / "vl2_ros" / "trusted_plans"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_trust_file() == tmp_path / "home" / ".config" / "vl2_ros" / "trusted_plans"


def test_a_list_that_cannot_be_used_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot (read|write) the list of trusted plans"):
        TrustedPlans(tmp_path / "file" / "list").add(PLAN)
    (tmp_path / "list").write_bytes(b"\xff\xfe")
    with pytest.raises(EngineError, match="cannot read the list"):
        TrustedPlans(tmp_path / "list").require(PLAN, tmp_path)
