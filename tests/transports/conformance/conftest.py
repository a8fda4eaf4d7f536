"""The promises of every transport: each test runs on all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transports.harness import HARNESSES, Rig, missing_package


@pytest.fixture(params=list(HARNESSES))
def rig(request: pytest.FixtureRequest, dds_domain: int) -> Iterator[Rig]:
    """A node and its client on one transport; a DDS domain of its own where that is one."""
    package = missing_package(request.param)
    if package is not None:
        pytest.skip(f"{request.param}: {package} is not installed")
    rig = Rig(HARNESSES[request.param][0]())
    yield rig
    rig.close()
