from __future__ import annotations

import pytest

from tests.tasks.network import Network
from vl2_ros.processing.language.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def shared_network(json_tokenizer: Tokenizer) -> Network:
    return Network(json_tokenizer)


@pytest.fixture
def network(shared_network: Network) -> Network:
    """The network, with nothing recorded and nothing set."""
    for part in (
        *(shared_network.backbone, shared_network.decoder),
        *(shared_network.regions, shared_network.vision),
    ):
        part.calls.clear()
        part.changes = {}
    return shared_network
