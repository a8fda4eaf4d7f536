"""The three stages: 20 steps with every source; exactly what is named moves, and the loss falls."""

from __future__ import annotations

import pytest
import torch

from tests.training.conversations.small_sources import (
    KINDS,
    PROCESSING,
    SmallSource,
    make_network,
)
from vl2_ros.training.conversations.mixture import WeightedSource
from vl2_ros.training.conversations.objective import (
    DECODER_PARTS,
    ConversationObjective,
    ConversationSettings,
    freeze_except,
)

DECODERS = tuple(DECODER_PARTS.values())
TEXT = ("text", "blind", "regions")
STAGES = {
    "stage1a": (["projector"], TEXT),
    "stage1b": (["projector", "llm", "region_encoder"], TEXT),
    "stage2": (["projector", "llm", "region_encoder", "super_link", *DECODERS], KINDS),
    "stage3": (["super_link", *DECODERS], [one for one in KINDS if one not in TEXT]),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_trains_what_it_names(json_tokenizer, stage):
    trained, kinds = STAGES[stage]
    network = make_network(json_tokenizer)
    freeze_except(network, trained)
    sources = [WeightedSource.of(SmallSource(kind)) for kind in kinds]
    objective = ConversationObjective(
        network, json_tokenizer, PROCESSING, sources, settings=ConversationSettings(batch_size=2)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}
    named = {name for name, one in network.named_parameters() if one.requires_grad}
    first = measure(objective, sources)
    train(objective, steps=20)
    assert measure(objective, sources) < first
    after = network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == named


def train(objective, steps):
    objective.train()
    torch.manual_seed(0)
    trained = [one for one in objective.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=0.0)
    batches = objective.open_batches(seed=1)
    groups = set()
    for number in range(steps):
        batch = batches[number]
        groups.add(batch.group)
        optimizer.zero_grad()
        objective(batch).total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    assert groups == {one.group for one in batches.sources}


@torch.no_grad()
def measure(objective, sources):
    """Return the summed loss of one batch of every source, with the same noise each time."""
    objective.eval()
    total = 0.0
    for source in sources:
        alone = ConversationObjective(
            objective.network,
            objective.open_batches(0).encoder.tokenizer,
            PROCESSING,
            [source],
            settings=objective.settings,
        )
        total += float(objective(alone.open_batches(5)[0]).total)
    return total
