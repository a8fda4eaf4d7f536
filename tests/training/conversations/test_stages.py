"""The three stages: 20 steps with every source; exactly what is named moves, and the loss falls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.conversations.small_sources import (
    KINDS,
    PROCESSING,
    SmallSource,
    make_mixture,
    make_network,
)
from vl2_ros.training.conversations.objective import ConversationObjective
from vl2_ros.training.recipes.reading import read_recipe
from vl2_ros.training.run import train

TEXT = ("text", "blind", "regions")
STAGES = {
    "stage1_projector": TEXT,
    "stage1_chat": TEXT,
    "stage2_multi_task": KINDS,
    "stage3_decoders": tuple(one for one in KINDS if one not in TEXT),
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


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_trains_what_it_names(json_tokenizer, tmp_path, stage):
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
    objective = ConversationObjective(
        network, json_tokenizer, PROCESSING, mix_groups(STAGES[stage]), batch_size=2
    )
    batches = objective.open_batches(recipe.seed)
    wanted = {part.group for part in batches.mixture.parts}
    assert {batches.draw_group(step) for step in range(20)} == wanted
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = measure(objective, STAGES[stage])
    end = train(recipe, tmp_path, device="cpu", open_objective=lambda *_: objective)
    assert end.is_complete
    assert measure(objective, STAGES[stage]) < first
    after = network.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    named = {
        name
        for name, _ in network.named_parameters()
        if name.partition(".")[0] in NAMED[stage] and not name.startswith(FROZEN + UNREACHED)
    }
    assert moved == named


def mix_groups(kinds):
    """Mix all kinds so that every group is drawn as often."""
    groups = [SmallSource(kind).group for kind in kinds]
    return make_mixture(*kinds, weights=[1 / groups.count(one) for one in groups])


@torch.no_grad()
def measure(objective, kinds):
    """Return the summed loss of one batch of every kind, with the same noise each time."""
    objective.eval()
    total = 0.0
    for kind in kinds:
        alone = replace(objective.open_batches(0), mixture=make_mixture(kind), augmentation=None)
        torch.manual_seed(0)
        total += float(objective(alone[0]).total)
    return total
