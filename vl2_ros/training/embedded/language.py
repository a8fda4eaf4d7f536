"""Train the language side of a finished model, with its detection decoder as it is.

The decoder knows a class by the LLM's states at the slots. So while the LLM learns to choose
routes, copy names and answer in words, a frozen copy of the model holds those states where they
were: the decoder takes no part, and reads the new model as it read the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from vl2_ros.datasets.tabletop import TabletopCache, render_cache
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.training.batch_source import draw_batches
from vl2_ros.training.embedded.config import embedded_processing_config
from vl2_ros.training.embedded.embedded import start_from
from vl2_ros.training.embedded.language_batches import LanguageBatch, LanguageBatches, Packs
from vl2_ros.training.embedded.loss import TokenLabellers, without_decoder
from vl2_ros.training.recipe import EmbeddedRecipe
from vl2_ros.training.trainer import STATE_FILE, OnStep, Trainer
from vl2_ros.training.workers import WorkerGroup, run_workers


def train_language(
    out: Path,
    cache: Path,
    *,
    recipe: EmbeddedRecipe,
    init: Path | None,
    workers: int = 2,
    device: str = "cpu",
    on_render: Callable[[int, int], None] | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Render what the cache lacks, then train the language side, or resume an interrupted run.

    Args:
        out: folder of the checkpoint, the log and the resumable state.
        cache: folder of rendered frames.
        recipe: what to do.
        init: the finished checkpoint; the decoder of the result is its decoder.
        workers: processes of one thread each, for rendering and for training; on `cuda` one more
            trains, and these draw its batches.
        device: torch device.
        on_render: called with (frames done, frames wanted).
        on_step: called every 20 steps.

    Raises:
        SimulationError: if frames cannot be rendered here.
        ConfigError: if there is no `init`, or the cache belongs to other settings.
    """
    if init is None:
        raise ConfigError(
            "training the language side alone needs a finished checkpoint whose decoder is kept; "
            "name one, such as: --init vl2_ros/embedded"
        )
    render_cache(cache, range(recipe.frames), processes=workers, progress=on_render)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / STATE_FILE).exists():
        start_from(init, out)
    if device == "cpu":
        run_workers(workers, _train_worker, out, cache, init, recipe, first={"on_step": on_step})
    else:
        LanguageTrainer(out, cache, init, recipe, device=device, drawers=workers).run(on_step)


def _train_worker(
    group: WorkerGroup,
    out: Path,
    cache: Path,
    init: Path,
    recipe: EmbeddedRecipe,
    on_step: OnStep | None = None,
) -> None:
    LanguageTrainer(out, cache, init, recipe, group).run(on_step)


def _make_draw(
    out: Path, cache: Path, recipe: EmbeddedRecipe, seed: tuple[int, ...], process: int
) -> Callable[[], LanguageBatch]:
    """Return what draws the batches of one process."""
    return LanguageBatches(
        TabletopCache(cache),
        load_tokenizer(out),
        embedded_processing_config(),
        images=recipe.images,
        conversations=recipe.conversations,
        blind_packs=recipe.blind_packs,
        seed=(*seed, process),
    ).next


class LanguageTrainer(Trainer):
    """Trains everything but the detection decoder.

    Args:
        out: folder of the tokenizer, the checkpoint, the log and the resumable state.
        cache: folder of rendered frames.
        init: checkpoint whose slot states are held.
        recipe: what to do.
        group: the workers that train together.
        device: where the network is trained.
        drawers: processes that draw batches beside the training; 0 draws in this one.
    """

    def __init__(
        self,
        out: Path,
        cache: Path,
        init: Path,
        recipe: EmbeddedRecipe,
        group: WorkerGroup | None = None,
        device: str = "cpu",
        drawers: int = 0,
    ) -> None:
        """Build what a run needs around the tokenizer in `out`, or read it back."""
        super().__init__(out, recipe, group, device)
        self._teacher = load_model(init, device=device).requires_grad_(False).eval()
        labels = self._labellers.image_tokens.parameters()
        self._trained = {"language": [*without_decoder(self.model), *labels]}
        seed = (recipe.seed, self._step, self._group.rank)
        self._batches = draw_batches(
            partial(_make_draw, out, cache, recipe, seed), device=self._device, processes=drawers
        )

    def next_batch(self) -> LanguageBatch:
        """Draw this worker's next batch."""
        return next(self._batches)

    def compute_step(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Run one batch through the model and through its frozen copy."""
        return compute_language_loss(
            self.model, self._teacher, self.next_batch(), self._labellers, self._recipe.hold
        )

    def trained_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Return all but the decoder's."""
        return self._trained


def compute_language_loss(
    model: VisionLLM,
    teacher: VisionLLM,
    batch: LanguageBatch,
    labellers: TokenLabellers,
    hold: float,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss of one batch and its parts for the log.

    Args:
        model: in training mode.
        teacher: the model as it was, frozen.
        batch: images and what is said about them.
        labellers: give the loss on what the image tokens show.
        hold: weight of the slot states' distance to the teacher's.

    Returns:
        The total loss; its parts are the language loss with and without an image, the labels of
        the image tokens, and the squared distance of the slot states in units of their variance.
    """
    packs, blind = batch.packs, batch.blind_packs
    tokens, hidden = _look_and_read(model, batch)
    with torch.no_grad():
        _, held = _look_and_read(teacher, batch)
    slots = torch.isin(
        packs.input_ids,
        torch.tensor(model.super_link.ignored_labels(), device=packs.input_ids.device),
    )
    parts = {
        "lm": model.language_loss(hidden, packs.labels),
        "lm_blind": model.language_loss(_read(model, blind, None), blind.labels),
        "image_tokens": labellers.image_tokens.compute_loss(tokens, batch.image_token_labels),
        "moved": _relative_distance(hidden[slots].float(), held[slots].float()),
    }
    # Three in four conversations are blind.
    language = parts["lm"] + 3.0 * parts["lm_blind"]
    return 0.5 * language + parts["image_tokens"] + hold * parts["moved"], parts


def _look_and_read(model: VisionLLM, batch: LanguageBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the image tokens (B, M, C) and the LLM's states (B, T, C)."""
    tokens = model.encode_images(batch.vision_pixels).image_tokens
    return tokens, _read(model, batch.packs, tokens)


def _read(model: VisionLLM, packs: Packs, tokens: torch.Tensor | None) -> torch.Tensor:
    return model.llm.model(
        inputs_embeds=model.embed(packs.input_ids, tokens),
        attention_mask=packs.visibility(),
        position_ids=packs.position_ids,
        use_cache=False,
    ).last_hidden_state


def _relative_distance(states: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of (n, C) states over the variance of the teacher's."""
    if len(held) < 2:
        return 0.0 * states.sum()
    return (states - held).square().mean() / held.var(dim=0).mean()
