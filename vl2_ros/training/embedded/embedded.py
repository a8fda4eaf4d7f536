"""Train the embedded model on simulator frames: language, super link, detection, masks at once.

One run does everything: render frames, train the tokenizer, optimise, average, save. It writes a
resumable state every few minutes, from which an interrupted run resumes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from vl2_ros.datasets.tabletop import TabletopCache, render_cache
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.training.embedded.loss import compute_loss, get_decoder, without_decoder
from vl2_ros.training.embedded.tabletop_batches import TabletopBatches, TrainingBatch
from vl2_ros.training.embedded.tokenizer import train_tokenizer
from vl2_ros.training.recipe import EmbeddedRecipe
from vl2_ros.training.trainer import STATE_FILE, OnStep, Trainer
from vl2_ros.training.workers import WorkerGroup, run_workers


def train_embedded(
    out: Path,
    cache: Path,
    *,
    recipe: EmbeddedRecipe | None = None,
    init: Path | None = None,
    workers: int = 2,
    on_render: Callable[[int, int], None] | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Render what the cache lacks, then train, or resume an interrupted run.

    Args:
        out: folder of the checkpoint, the log and the resumable state.
        cache: folder of rendered frames.
        recipe: what to do; the shipped model's recipe when None.
        init: checkpoint of this architecture whose weights and tokenizer a new run starts from.
        workers: processes of one thread each, for rendering and for training.
        on_render: called with (frames done, frames wanted).
        on_step: called every 20 steps.

    Raises:
        SimulationError: if frames cannot be rendered here.
        ConfigError: if the cache or the state on disk belongs to other settings.
    """
    recipe = EmbeddedRecipe() if recipe is None else recipe
    render_cache(cache, range(recipe.frames), processes=workers, progress=on_render)
    out.mkdir(parents=True, exist_ok=True)
    if init is not None and not (out / STATE_FILE).exists():
        start_from(init, out)
    if not (out / "tokenizer.json").exists():
        train_tokenizer(out, vocab_size=recipe.vocab_size, seed=recipe.seed)
    run_workers(workers, _train_worker, out, cache, recipe, first={"on_step": on_step})


def start_from(init: Path, out: Path) -> None:
    """Copy the weights and the tokenizer of another checkpoint to `out`."""
    save_model(load_model(init), out, dtype=torch.float32)
    shutil.copy(init / "tokenizer.json", out / "tokenizer.json")


def _train_worker(
    group: WorkerGroup,
    out: Path,
    cache: Path,
    recipe: EmbeddedRecipe,
    on_step: OnStep | None = None,
) -> None:
    EmbeddedTrainer(out, cache, recipe, group).run(on_step)


class EmbeddedTrainer(Trainer):
    """Trains everything at once.

    Args:
        out: folder of the tokenizer, the checkpoint, the log and the resumable state.
        cache: folder of rendered frames.
        recipe: what to do.
        group: the workers that train together.
    """

    def __init__(
        self, out: Path, cache: Path, recipe: EmbeddedRecipe, group: WorkerGroup | None = None
    ) -> None:
        """Build what a run needs around the tokenizer in `out`, or read it back."""
        super().__init__(out, recipe, group)
        # Lists throughout: the workers' gradients are paired by index.
        decoder = list(get_decoder(self.model).parameters())
        others = without_decoder(self.model)
        self._trained = {
            "decoder": decoder,
            "language": [*others, *self._labellers.parameters()],
        }
        self._trained_without_language = {
            "decoder": decoder,
            "labels": list(self._labellers.decoder_tokens.parameters()),
        }
        self._batches = TabletopBatches(
            TabletopCache(cache),
            self._tokenizer,
            self._processing,
            batch_size=recipe.batch_size,
            seed=(recipe.seed, self._step, self._group.rank),
        )

    @property
    def trains_language(self) -> bool:
        """Return whether the next step trains the LLM, the same on every worker."""
        return self._step % self._recipe.language_every == 0

    def next_batch(self) -> TrainingBatch:
        """Draw this worker's next batch."""
        return self._batches.next(with_language=self.trains_language)

    def compute_step(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Run one batch through the whole network."""
        return compute_loss(
            self.model, self.next_batch(), self._labellers, self._recipe.super_link_gradient
        )

    def trained_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Return the decoder and, in steps with language, the rest."""
        return self._trained if self.trains_language else self._trained_without_language
