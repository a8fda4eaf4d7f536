"""What every engine promises, on every backend, for every graph of the embedded model."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.runtime.conformance.harness import (
    BACKENDS,
    CALLS,
    NAMES,
    SPECS,
    learn_sizes,
    make_inputs,
    precision_of,
    reference,
)
from vl2_ros.errors import EngineError
from vl2_ros.runtime.engine import Engine, to_numpy

_PAIRS = [
    pytest.param(
        (backend, name),
        id=f"{backend}-{name}",
        marks=[getattr(pytest.mark, marker) for marker in markers],
    )
    for backend, (_, markers) in BACKENDS.items()
    for name in NAMES
]


@pytest.fixture(scope="module", params=_PAIRS)
def engine(request) -> Engine:
    backend, name = request.param
    return BACKENDS[backend][0](name)


def run(engine: Engine, inputs) -> dict[str, np.ndarray]:
    return {name: to_numpy(array) for name, array in engine.run(inputs).items()}


def first_inputs(engine: Engine, seed: int = 0) -> dict[str, np.ndarray]:
    return make_inputs(engine.info.graph, CALLS[engine.info.graph][0], seed)


def calls(engine: Engine):
    name = engine.info.graph
    return [(index, make_inputs(name, sizes)) for index, sizes in enumerate(CALLS[name])]


def test_names_are_those_of_the_table(engine):
    spec = SPECS[engine.info.graph]
    assert engine.info.inputs == spec.input_names
    assert engine.info.outputs == spec.output_names
    assert tuple(engine.run(first_inputs(engine))) == spec.output_names


def test_dtypes_and_axes_are_those_of_the_table(engine):
    spec = SPECS[engine.info.graph]
    for _, inputs in calls(engine):
        sizes = learn_sizes(spec, inputs)
        outputs = run(engine, inputs)
        for tensor in spec.outputs:
            assert outputs[tensor.name].dtype == tensor.dtype_at(precision_of(engine))
            assert outputs[tensor.name].ndim == len(tensor.axes)
            for axis, size in zip(tensor.axes, outputs[tensor.name].shape, strict=True):
                assert size == (axis if isinstance(axis, int) else sizes.setdefault(axis, size))


def test_outputs_are_those_of_torch_within_the_tolerance_of_the_table(engine):
    spec = SPECS[engine.info.graph]
    for index, inputs in calls(engine):
        wanted = reference(spec.name, index)
        for name, got in run(engine, inputs).items():
            allowed = spec.tolerance[precision_of(engine)] * np.abs(wanted[name]).max()
            assert np.abs(got - wanted[name]).max() <= allowed, (index, name)


def test_outputs_that_are_wanted_are_those_of_a_full_run(engine):
    inputs = first_inputs(engine)
    full = run(engine, inputs)
    names = engine.info.outputs
    for wanted in (names[:1], names[-1:], names[::-1][:2]):
        some = engine.run(inputs, wanted)
        assert tuple(some) == tuple(name for name in names if name in wanted)
        for name, array in some.items():
            np.testing.assert_array_equal(to_numpy(array), full[name])


def test_an_output_that_is_not_there_is_named(engine):
    with pytest.raises(EngineError, match=rf"{engine.info.graph} has no output pixels; expected"):
        engine.run(first_inputs(engine), (engine.info.outputs[0], "pixels"))


def test_runs_repeat_exactly(engine):
    first, second = (run(engine, first_inputs(engine)) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array)


def test_a_later_run_overwrites_no_output(engine):
    outputs = engine.run(first_inputs(engine))
    before = {name: to_numpy(array).copy() for name, array in outputs.items()}
    for seed in (1, 2, 3):
        engine.run(first_inputs(engine, seed))
    for name, array in outputs.items():
        np.testing.assert_array_equal(to_numpy(array), before[name])


def test_inputs_are_left_as_they_were(engine):
    inputs = first_inputs(engine)
    outputs = engine.run(inputs)
    for array in outputs.values():
        assert not any(np.shares_memory(to_numpy(array), given) for given in inputs.values())
    for name, array in first_inputs(engine).items():
        np.testing.assert_array_equal(inputs[name], array)


def test_a_missing_input_is_named(engine):
    for name in SPECS[engine.info.graph].input_names:
        inputs = first_inputs(engine)
        del inputs[name]
        with pytest.raises(EngineError, match=rf"{engine.info.graph} needs .*missing: {name}$"):
            engine.run(inputs)


def test_an_input_of_another_shape_is_named(engine):
    for name, array in first_inputs(engine).items():
        for wrong in (array[0], array[None]):
            with pytest.raises(EngineError, match=rf"{engine.info.graph} takes {name} of shape"):
                engine.run(first_inputs(engine) | {name: wrong})


def test_a_size_that_the_network_does_not_have_is_an_error(engine):
    # Images and their maps may be of any size.
    open_ones = {"detection_backbone": None, "detection_decoder": "class_mask"}
    name = open_ones.get(engine.info.graph, SPECS[engine.info.graph].input_names[0])
    if name is None:
        pytest.skip("the network takes images of any size")
    wrong = first_inputs(engine)[name][..., :-3]
    with pytest.raises(EngineError, match=engine.info.graph):
        engine.run(first_inputs(engine) | {name: wrong})


def test_inputs_that_disagree_are_an_error(engine):
    wrong = {
        "vision_encoder": {"pixels": np.zeros((1, 3, 128, 112), np.float32)},
        "language_model": {"past_values.1": np.zeros((1, 4, 5, 64), np.float32)},
        "detection_backbone": {"pixels": np.zeros((1, 4, 192, 256), np.float32)},
        "detection_decoder": {"class_mask": np.ones((1, 9), bool)},
    }[engine.info.graph]
    (name,) = wrong
    with pytest.raises(EngineError, match=rf"{engine.info.graph} takes {name} of shape.*; got"):
        engine.run(first_inputs(engine) | wrong)


def test_an_input_of_another_dtype_is_an_error(engine):
    for name, array in first_inputs(engine).items():
        wrong = array.astype(np.int32 if array.dtype == bool else np.float64)
        with pytest.raises(EngineError, match=rf"takes {name} as {array.dtype}, got {wrong.dtype}"):
            engine.run(first_inputs(engine) | {name: wrong})


def test_an_error_spoils_no_later_run(engine):
    wanted = run(engine, first_inputs(engine))
    with pytest.raises(EngineError):
        engine.run({})
    for name, array in run(engine, first_inputs(engine)).items():
        np.testing.assert_array_equal(array, wanted[name])


def test_inputs_may_have_any_memory_layout(engine):
    wanted = run(engine, first_inputs(engine))
    given = {name: np.asfortranarray(array) for name, array in first_inputs(engine).items()}
    for name, array in run(engine, given).items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-4, atol=1e-4)


def test_threads_may_run_it_at_a_time(engine):
    inputs = [first_inputs(engine, seed) for seed in range(3)]
    wanted = [run(engine, one) for one in inputs]
    got: dict[int, dict[str, np.ndarray]] = {}

    def work(index: int) -> None:
        for _ in range(3):
            got[index] = run(engine, inputs[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, outputs in enumerate(wanted):
        for name, array in outputs.items():
            np.testing.assert_array_equal(got[index][name], array)
