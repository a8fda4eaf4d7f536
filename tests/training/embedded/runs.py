"""Recipes of a few frames and steps for the embedded model."""

from __future__ import annotations

from pathlib import Path

from vl2_ros.training.embedded.objective import render_frames
from vl2_ros.training.embedded.tokenizer import train_tokenizer
from vl2_ros.training.objectives import Opening
from vl2_ros.training.recipes.reading import make_recipe
from vl2_ros.training.recipes.recipe import Recipe


def make_small(objective: str, cache: Path, changes: dict | None = None, **options) -> Recipe:
    """Return a recipe of few frames, whose other values are those of `changes`."""
    document = {
        "objective": objective,
        "steps": 2,
        "batch": 2,
        "precision": "float32",
        "workers": 0,
        "log_every": 1,
        "evaluation": {"batches": 1},
        "options": {"cache": str(cache), "frames": 4, "held_out_frames": 2, **options},
    }
    return make_recipe(document | (changes or {}), "small")


def make_folder(folder: Path) -> Path:
    """Make the folder of a run with a small tokenizer."""
    train_tokenizer(folder, vocab_size=512, sentences=2000)
    return folder


def open_in(folder: Path) -> Opening:
    folder.mkdir(exist_ok=True)
    return Opening(folder, 1, lambda what, share: None)


def render(folder: Path) -> Path:
    """Render the frames of the small recipes."""
    cache = folder / "frames"
    render_frames(make_small("embedded", cache).options, lambda what, share: None)
    return cache
