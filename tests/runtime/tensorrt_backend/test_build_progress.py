"""How far a build is, from the phases that it opens."""

from __future__ import annotations

from vl2_ros.runtime.tensorrt_backend.build_progress import PhaseTree


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_phases_inside_others_count_as_parts_of_their_steps():
    tree = PhaseTree(Clock())
    assert tree.start("build", None, 4).share == 0
    assert tree.step("build", 0).share == 0.25
    assert tree.start("layers", "build", 5).share == 0.25
    assert tree.step("layers", 1).share == 0.25 + 0.25 * 2 / 5
    assert tree.finish("layers").share == 0.25 + 0.25 * 2 / 5
    assert tree.step("build", 1).share == 0.5
    assert tree.finish("build").share == 1


def test_the_share_never_falls_and_never_passes_the_end():
    tree = PhaseTree(Clock())
    tree.start("build", None, 2)
    shares = [tree.step("build", step).share for step in (1, 0, 5)]
    shares += [tree.start("second", None, 3).share, tree.step("unknown", 1).share]
    assert shares == sorted(shares) and shares[-1] == 1


def test_the_time_left_follows_from_the_time_taken():
    clock = Clock()
    tree = PhaseTree(clock)
    assert tree.start("build", None, 10).eta_s is None
    clock.now += 30
    assert tree.step("build", 1).eta_s == 120
    clock.now += 30
    assert tree.step("build", 4).eta_s == 60


def test_a_builder_without_order_does_no_harm():
    tree = PhaseTree(Clock())
    assert tree.finish("never opened").share == 0
    assert tree.start("child", "never opened", 0).stage == "child"
    assert tree.step("child", 0).share == 1
