"""Batches of questions in words: scenes as labels or as images, and commands that are held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vl2_ros.datasets.commands import sample_class_list, sample_perception, sample_words
from vl2_ros.datasets.scene_questions.balanced import SHARES, draw_question
from vl2_ros.datasets.scene_questions.relations import PlacedThing
from vl2_ros.datasets.tabletop import TabletopCache
from vl2_ros.datasets.token_labels.grid import label_grid
from vl2_ros.datasets.wording import chance
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_vision
from vl2_ros.processing.language.prompt import encode_conversation
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.structures import Frame
from vl2_ros.training.embedded.packs import Packs, pack_rows
from vl2_ros.training.embedded.tabletop_batches import View, augment
from vl2_ros.training.eyes.directions import CellLabels
from vl2_ros.training.words.conversations import AskedPacks, pack_questions
from vl2_ros.training.words.label_scenes import (
    LabelScene,
    make_scene,
    stack_scenes,
    vary_scene,
)
from vl2_ros.training.words.settings import WordsSettings

#: Share of the shorter commands that are answered in words, small talk among them.
_TEXT_SHARE = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class HeldCommands:
    """Commands whose slot states are held, about images of their own.

    Attributes:
        teacher_pixels: (h, 3, s, s) float32 for the teacher's tower.
        pixels: (h, 3, S, S) float32 for the network's tower.
        labels: of the network's cells.
        packs: one per image.
    """

    teacher_pixels: Tensor
    pixels: Tensor
    labels: CellLabels
    packs: Packs


@dataclass(frozen=True, slots=True, eq=False)
class WordsBatch:
    """Everything of one step.

    Attributes:
        pixels: (B, 3, S, S) float32, or None where labels stand for the images.
        labels: of the cells of the scenes.
        asked: questions about them.
        held: commands.
    """

    pixels: Tensor | None
    labels: CellLabels
    asked: AskedPacks
    held: HeldCommands


def question_shares(settings: WordsSettings, progress: float) -> dict[str, float]:
    """Return how often each question is asked after a share of the steps."""
    begins = {"relation": settings.relations_from, "listing": settings.listings_from}
    return {name: share for name, share in SHARES.items() if progress >= begins.get(name, 0.0)}


class WordsBatches:
    """Batches by number.

    Args:
        cache: rendered frames with instance maps.
        tokenizer: of the network.
        processing: of the network.
        teacher_processing: of the teacher; its images have as many tokens.
        grid: patch tokens along each side of an image, before they are merged.
        settings: of the run.
        size: scenes of a batch.
        batches: of the whole run; None is asked as at its end, with images alone where there are
            any in the run.
        seed: of every batch, before its number.
    """

    def __init__(
        self,
        cache: TabletopCache,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        teacher_processing: ProcessingConfig,
        grid: int,
        settings: WordsSettings,
        size: int,
        batches: int | None,
        seed: tuple[int, ...],
    ) -> None:
        """Keep the sources."""
        self._cache, self._tokenizer = cache, tokenizer
        self._processing, self._teacher_processing = processing, teacher_processing
        self._grid, self._settings, self._size = grid, settings, size
        self._batches, self._seed = batches, seed

    def __getitem__(self, number: int) -> WordsBatch:
        """Draw one batch."""
        rng = np.random.default_rng((*self._seed, number))
        settings = self._settings
        if self._batches is None:
            progress, with_images = 1.0, settings.images_from < 1.0
        else:
            progress = number / self._batches
            with_images = progress >= settings.images_from
            with_images = with_images and not chance(rng, settings.label_share)
        views = [self._draw_view(rng) for _ in range(self._size)]
        scenes = [self._label(view) for view in views]
        if not with_images:
            scenes = [vary_scene(scene, rng) for scene in scenes]
        shares = question_shares(settings, progress)
        questions = [
            [draw_question(rng, scene.objects, shares) for _ in range(settings.questions)]
            for scene in scenes
        ]
        return WordsBatch(
            _prepare(views, self._processing) if with_images else None,
            stack_scenes(scenes),
            pack_questions(
                scenes,
                questions,
                self._tokenizer,
                self._processing,
                listing_weight=settings.listing_weight,
            ),
            self._draw_held(rng),
        )

    def draw_labels(self, number: int) -> CellLabels:
        """Return varied labels of scenes, without questions."""
        rng = np.random.default_rng((*self._seed, number))
        views = [self._draw_view(rng) for _ in range(self._size)]
        return stack_scenes([vary_scene(self._label(view), rng) for view in views])

    def _draw_view(self, rng: np.random.Generator) -> View:
        record = self._cache[int(rng.integers(len(self._cache)))]
        return augment(record.rgb, record.instance_map, record.objects, rng)

    def _label(self, view: View) -> LabelScene:
        labels = label_grid(view.instance_map, view.objects, self._grid)
        return make_scene(labels, view.objects)

    def _draw_held(self, rng: np.random.Generator) -> HeldCommands:
        settings = self._settings
        views = [self._draw_view(rng) for _ in range(settings.held_scenes)]
        return HeldCommands(
            _prepare(views, self._teacher_processing),
            _prepare(views, self._processing),
            stack_scenes([self._label(view) for view in views]),
            pack_rows(
                [self._command(view.objects, rng) for view in views],
                image_patch=self._tokenizer.tokens.image_patch,
                pad=self._tokenizer.tokens.pad,
            ),
        )

    def _command(
        self, objects: Sequence[PlacedThing], rng: np.random.Generator
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Draw a long class list, and shorter commands and remarks of every kind."""
        drawn = [sample_class_list(rng, objects)]
        for _ in range(self._settings.commands - 1):
            sample = sample_words if chance(rng, _TEXT_SHARE) else sample_perception
            drawn.append(sample(rng, objects))
        return [
            encode_conversation([(one.question, one.answer)], self._tokenizer, self._processing)
            for one in drawn
        ]


def _prepare(views: Sequence[View], processing: ProcessingConfig) -> Tensor:
    frames = [Frame(view.frame.rgb) for view in views]
    return torch.from_numpy(
        np.concatenate([preprocess_vision(frame, processing)[-1:] for frame in frames])
    )


def count_batches(steps: int, batches_per_step: int) -> int:
    """Return the batches of a run, over all processes."""
    return max(1, math.ceil(steps * batches_per_step))
