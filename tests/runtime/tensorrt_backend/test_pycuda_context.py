"""PyCUDA joins the context that is there; a stand-in records what is asked of it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from vl2_ros.errors import EngineError
from vl2_ros.runtime.tensorrt_backend.pycuda_context import primary_context


@pytest.fixture
def calls(monkeypatch) -> list[object]:
    calls: list[object] = []

    class Context:
        def push(self) -> None:
            calls.append("push")

        def pop(self) -> None:
            calls.append("pop")

    class Device:
        def __init__(self, index: int) -> None:
            if index > 1:
                raise driver.Error("invalid device ordinal")
            calls.append(index)

        def retain_primary_context(self) -> Context:
            calls.append("primary")
            return Context()

    package, driver = ModuleType("pycuda"), ModuleType("pycuda.driver")
    driver.Error = type("Error", (Exception,), {})
    driver.init, driver.Device = lambda: calls.append("init"), Device
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    # Whoever imports it makes a second context.
    monkeypatch.setitem(sys.modules, "pycuda.autoinit", None)
    return calls


def test_the_primary_context_is_current_in_the_body_alone(calls):
    with primary_context(1):
        calls.append("body")
    assert calls == ["init", 1, "primary", "push", "body", "pop"]


def test_the_context_is_left_also_after_an_error(calls):
    with pytest.raises(ZeroDivisionError), primary_context():
        raise ZeroDivisionError
    assert calls[-2:] == ["push", "pop"]


def test_a_device_that_is_not_there_is_told(calls):
    with pytest.raises(EngineError, match="CUDA device 7: invalid device ordinal"):
        primary_context(7).__enter__()


def test_without_pycuda_tensors_are_the_way(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(EngineError, match="pip install pycuda, or pass torch tensors"):
        primary_context().__enter__()
