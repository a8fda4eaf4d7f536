"""What is loaded when, what is freed for whom, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import CheckpointError, EngineError
from vl2_ros.runtime.engine import EngineInfo
from vl2_ros.runtime.lazy import LazyEngine, LazyImageGenerator, LazyPart, PartMemory
from vl2_ros.structures import GeneratedImage, ImageOptions, ProgressEvent, Route

MB = 1_000_000
INFO = EngineInfo("detection_decoder", "scripted", "cpu", (), ())


class Loader:
    """Counts its loads; a part of so many megabytes."""

    def __init__(self, value="part", megabytes=10):
        self.value, self.megabytes, self.loads = value, megabytes, 0

    def __call__(self):
        self.loads += 1
        return self.value, self.megabytes * MB

    def make_part(self, name, memory):
        return LazyPart(name, self, memory, self.megabytes * MB)


def test_a_part_is_loaded_once_at_first_use():
    loader, memory = Loader(), PartMemory()
    part = loader.make_part("pose_decoder", memory)
    assert (loader.loads, part.nbytes, memory.used_bytes) == (0, 0, 0)
    assert part.get() == part.get() == "part"
    assert (loader.loads, part.nbytes, memory.used_bytes) == (1, 10 * MB, 10 * MB)


def test_the_least_recently_used_part_is_freed_first():
    released = []
    memory = PartMemory(25 * MB, lambda: released.append(1))
    loaders = {name: Loader(name) for name in "abc"}
    parts = {name: loader.make_part(name, memory) for name, loader in loaders.items()}
    parts["a"].get()
    parts["b"].get()
    parts["a"].get()
    assert memory.loaded == ("b", "a") and not released
    parts["c"].get()
    assert memory.loaded == ("a", "c") and released == [1]
    assert parts["b"].nbytes == 0
    parts["b"].get()
    assert memory.loaded == ("c", "b")
    assert {name: loader.loads for name, loader in loaders.items()} == {"a": 1, "b": 2, "c": 1}


def test_as_many_parts_are_freed_as_needed():
    memory = PartMemory(25 * MB)
    for name in "ab":
        Loader(name).make_part(name, memory).get()
    Loader("large", 24).make_part("large", memory).get()
    assert memory.loaded == ("large",)


def test_without_a_budget_nothing_is_freed():
    memory = PartMemory()
    for name in "abcdef":
        Loader(name, 10_000).make_part(name, memory).get()
    assert memory.loaded == tuple("abcdef")


def test_a_part_over_the_budget_is_refused_with_both_sizes_and_frees_nothing():
    memory = PartMemory(25 * MB)
    Loader("small").make_part("small", memory).get()
    large = Loader("large", 30)
    with pytest.raises(EngineError, match=r"image_editing needs 30.0 MB.*25.0 MB.*memory_budget_m"):
        large.make_part("image_editing", memory).get()
    assert memory.loaded == ("small",) and large.loads == 0


def test_a_part_that_cannot_be_loaded_takes_nothing_and_is_tried_again():
    def refuse():
        raise CheckpointError("damaged")

    memory = PartMemory(25 * MB)
    part = LazyPart("pose_decoder", refuse, memory, 10 * MB)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="damaged"):
            part.get()
    assert memory.used_bytes == 0 and memory.loaded == ()


def test_an_engine_loads_with_its_first_run():
    class Doubling:
        info = INFO

        def run(self, inputs, outputs=None):
            return {"y": inputs["x"] * 2}

    loader = Loader(Doubling())
    part = loader.make_part("detection_decoder", PartMemory())
    engine = LazyEngine(INFO, part, lambda loaded: loaded)
    assert engine.info is INFO and loader.loads == 0
    assert engine.run({"x": np.ones(2)})["y"].tolist() == [2, 2]
    engine.run({"x": np.ones(2)})
    assert loader.loads == 1


def test_a_generator_loads_with_its_first_image_and_passes_its_events_on():
    class Generator:
        info = INFO

        def generate(self, states, options, source=None):
            yield ProgressEvent("diffusion", 1, 1)
            rgb = np.zeros((64, 64, 3), np.uint8)
            return GeneratedImage(Route.GENERATE, rgb, options.seed, 1, "euler")

    loader = Loader(Generator())
    lazy = LazyImageGenerator(INFO, loader.make_part("image_generation", PartMemory()))
    run = lazy.generate(np.zeros((2, 3)), ImageOptions(seed=4))
    assert loader.loads == 0
    assert next(run) == ProgressEvent("diffusion", 1, 1)
    with pytest.raises(StopIteration) as stop:
        next(run)
    assert stop.value.value.seed == 4 and loader.loads == 1
