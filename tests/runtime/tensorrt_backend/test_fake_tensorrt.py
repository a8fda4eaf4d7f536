"""The stand-in has names and arguments of the real TensorRT for RTX, where that is installed."""

from __future__ import annotations

import enum
import importlib
import inspect
import re

import pytest

from tests.runtime.tensorrt_backend.fake_tensorrt import make_module

RTX = "tensorrt-rtx 1.7.1.116"
FAKE = make_module(RTX)
CLASSES = [
    name
    for name, one in vars(FAKE).items()
    if inspect.isclass(one) and not issubclass(one, enum.Enum) and name != "Dims"
]
ENUMS = [
    name for name, one in vars(FAKE).items() if inspect.isclass(one) and issubclass(one, enum.Enum)
]
#: What tests look at.
OWN = {"built", "fails", "engines", "engine_class", "numpy_dtype", "Severity"}

pytestmark = pytest.mark.tensorrt_rtx


@pytest.fixture(scope="module")
def real():
    return importlib.import_module("tensorrt_rtx")


def list_members(name: str) -> list[str]:
    members = [one for one in dir(getattr(FAKE, name)) if not one.startswith("_")]
    return [one for one in members if one not in OWN]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_no_member_that_the_real_one_lacks(real, name):
    lacking = [one for one in list_members(name) if not hasattr(getattr(real, name), one)]
    assert lacking == []


@pytest.mark.parametrize("name", CLASSES)
def test_methods_take_the_arguments_of_the_real_ones(real, name):
    """The real module gives them in the first lines of its docstrings."""
    for member in list_members(name):
        method = getattr(getattr(FAKE, name), member)
        if not inspect.isfunction(method):
            continue
        documented = getattr(getattr(real, name), member).__doc__
        signatures = re.findall(rf"^(?:\d\. )?{member}\((self.*?)\) ->", documented, flags=re.M)
        names = [[re.split("[:=]", one)[0].strip() for one in split(text)] for text in signatures]
        own = list(inspect.signature(method).parameters)
        assert own in names, f"{name}.{member}: {own}, documented: {names}"


def split(arguments: str) -> list[str]:
    """Split at the commas outside of brackets."""
    return re.split(r", (?![^\[<]*[\]>])", arguments)


@pytest.mark.parametrize("name", ENUMS)
def test_members_of_enumerations_are_those_of_the_real_ones(real, name):
    known = set(getattr(real, name).__members__)
    assert {one.name for one in getattr(FAKE, name)} <= known
