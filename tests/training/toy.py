"""A tiny network that learns to continue rows of ids; run as a script it trains a toy recipe."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.training.loop import pace
from vl2_ros.training.loop.devices import leave_processes
from vl2_ros.training.objective import Losses, Objective
from vl2_ros.training.objectives import Opening
from vl2_ros.training.recipes.recipe import Evaluation, Rates, Recipe
from vl2_ros.training.run import train

RECIPE = Recipe(
    objective="toy",
    steps=12,
    batch=2,
    precision="float32",
    trained=("llm", "super_link"),
    workers=0,
    log_every=1,
    average_decay=0.9,
    saved_dtype="float32",
    rates=Rates(learning_rate=1e-3, weight_decay=0.01),
    evaluation=Evaluation(every=0, batches=2),
)


class ToyBatches:
    """Rows of ids that count upwards; a batch takes a while if it is to."""

    def __init__(self, seed: int, size: int, delay_s: float) -> None:
        self._seed, self._size, self._delay_s = seed, size, delay_s

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
        time.sleep(self._delay_s)
        starts = torch.randint(3, 40, (self._size, 1), generator=generator)
        return {"ids": starts + torch.arange(12)}


class ToyObjective(Objective):
    """Language loss with noise on the weights' side, so that chance takes part."""

    def __init__(self, network: VisionLLM, recipe: Recipe) -> None:
        super().__init__(network)
        self.head = torch.nn.Linear(network.config.llm_width, 2)
        self.delay_s = 0.0
        self.bad_numbers: set[int] = set()
        self._recipe, self._count = recipe, 0

    def forward(self, batch: dict[str, torch.Tensor]) -> Losses:
        output = self.network(batch["ids"], labels=batch["ids"], with_logits=False)
        head = self.head(output.hidden + 0.1 * torch.randn_like(output.hidden)).square().mean()
        total = output.loss + head
        self._count += self.training
        if self._count - 1 in self.bad_numbers and self.training:
            total = total * float("nan")
        return Losses(total, {"lm": output.loss, "head": head})

    def open_batches(self, seed: int, *, held_out: bool = False) -> ToyBatches:
        return ToyBatches(seed + 500 * held_out, self._recipe.batch, self.delay_s)


def open_toy(recipe: Recipe, opening: Opening) -> ToyObjective:
    tokens = TokenIds.from_base(64)
    config = ModelConfig.tiny(with_detection=False)
    return ToyObjective(VisionLLM(config, tokens), recipe)


def open_slow_toy(recipe: Recipe, opening: Opening) -> ToyObjective:
    toy = open_toy(recipe, opening)
    toy.delay_s = 0.2
    return toy


def write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(folder: str, changes: str, pace_of: str) -> None:
    """Train in a process of its own, or in several; a slow one writes its state often."""
    torch.set_num_threads(1)
    if pace_of == "slow":
        pace.STATE_PERIOD_S = 0.3
    train(
        change(json.loads(changes)),
        Path(folder),
        device="cpu",
        open_objective=open_slow_toy if pace_of == "slow" else open_toy,
        show=write_line,
    )
    leave_processes()


def change(changes: dict) -> Recipe:
    """Return the toy recipe with other values; sections as mappings."""
    nested = {
        name: replace(getattr(RECIPE, name), **value)
        for name, value in changes.items()
        if isinstance(value, dict)
    }
    return replace(RECIPE, **{**changes, **nested})


if __name__ == "__main__":
    main(*sys.argv[1:])
