"""The three stages: 20 steps with every source; exactly what is named moves, and the loss falls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.datasets.small_sets import write_sets
from tests.training.conversations.small_sources import PROCESSING, make_network
from vl2_ros.datasets.mixture import Mixture, MixturePart
from vl2_ros.datasets.sources.source_table import SOURCE_KINDS, open_source
from vl2_ros.training.conversations.objective import ConversationObjective
from vl2_ros.training.recipes.reading import read_recipe
from vl2_ros.training.run import train

CHAT = ("chat", "region_captions", "region_chat", "in_context_text")
#: Stage -> the kinds of sources that it is for.
STAGES = {
    "stage1_projector": ("image_captions",),
    "stage1_chat": CHAT,
    "stage2_multi_task": tuple(SOURCE_KINDS),
    "stage3_decoders": tuple(
        kind for kind in SOURCE_KINDS if kind not in (*CHAT, "image_captions")
    ),
}
#: What no stage trains.
FROZEN = (
    *("vision_encoder.", "image_generation.text_encoder.", "image_generation.vae."),
    *("image_generation.denoiser.", "image_editing.text_encoder.", "image_editing.vae."),
)
#: The size of a keypoint's reference reaches no loss: its gradient ends before the next layer.
UNREACHED = tuple(
    f"pose_decoder.heads.{name}." for name in ("keypoint_size", "slot_sizes", "further_slot_sizes")
)
DECODERS = ("detection_decoder", "pose_decoder", "image_generation", "image_editing")
NAMED = {
    "stage1_projector": ("projector",),
    "stage1_chat": ("projector", "llm", "region_encoder"),
    "stage2_multi_task": ("projector", "llm", "region_encoder", "super_link", *DECODERS),
    "stage3_decoders": ("super_link", *DECODERS),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict:
    """A small set of every kind."""
    sets = write_sets(tmp_path_factory.mktemp("sets"))
    sets["simulator"] |= {"width": 160, "height": 120}
    return {kind: open_source({"kind": kind} | sets[kind], Path()) for kind in SOURCE_KINDS}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_trains_what_it_names(json_tokenizer, tmp_path, sources, stage):
    recipe = read_recipe(stage)
    evaluation = replace(recipe.evaluation, every=0, batches=0)
    rates = replace(recipe.rates, learning_rate=2e-3, multipliers=())
    recipe = replace(
        recipe,
        **{
            "init": "",
            "steps": 20,
            "epochs": 0.0,
            "batch": 2,
            "accumulation": 1,
            "workers": 0,
            "max_length": 0,
        },
        **{"precision": "float32", "seed": 7, "evaluation": evaluation, "rates": rates},
    )
    network = make_network(json_tokenizer)
    mixed = [sources[kind] for kind in STAGES[stage]]
    objective = ConversationObjective(
        network, json_tokenizer, PROCESSING, mix_groups(mixed), batch_size=2
    )
    batches = objective.open_batches(recipe.seed)
    wanted = {part.group for part in batches.mixture.parts}
    assert {batches.draw_group(step) for step in range(20)} == wanted
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = measure(objective, mixed)
    end = train(recipe, tmp_path, device="cpu", open_objective=lambda *_: objective)
    assert end.is_complete
    assert measure(objective, mixed) < first
    after = network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    named = {
        name
        for name, _ in network.named_parameters()
        if name.partition(".")[0] in NAMED[stage] and not name.startswith(FROZEN + UNREACHED)
    }
    assert moved == named


def mix_groups(sources) -> Mixture:
    """Mix sources so that every group is drawn as often."""
    groups = [one.group for one in sources]
    return Mixture([MixturePart(one, one.group, 1 / groups.count(one.group)) for one in sources])


@torch.no_grad()
def measure(objective, sources) -> float:
    """Return the summed loss of one batch of every source, with the same noise each time."""
    objective.eval()
    total = 0.0
    for source in sources:
        alone = replace(
            objective.open_batches(0),
            mixture=Mixture([MixturePart(source, source.group)]),
            augmentation=None,
        )
        torch.manual_seed(0)
        total += float(objective(alone[0]).total)
    return total
