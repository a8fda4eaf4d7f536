"""Train the embedded model on simulator frames: language, super link, detection, masks at once."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from vl2_ros.datasets.sources.household import Household, HouseholdOptions
from vl2_ros.datasets.tabletop import TabletopCache, render_cache
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.training.companions import copy_companions, find_init
from vl2_ros.training.embedded.config import embedded_model_config, embedded_processing_config
from vl2_ros.training.embedded.loss import TokenLabellers, compute_loss, get_decoder
from vl2_ros.training.embedded.settings import EmbeddedSettings, FrameSettings
from vl2_ros.training.embedded.tabletop_batches import TabletopBatches, TrainingBatch
from vl2_ros.training.embedded.tokenizer import train_tokenizer
from vl2_ros.training.objective import Losses, Objective
from vl2_ros.training.objectives import Opening, Report
from vl2_ros.training.recipes.recipe import Recipe

#: Seeds of scenes from here on are never trained on.
HELD_OUT_SEED = 1_000_000


class EmbeddedObjective(Objective):
    """Everything at once.

    Args:
        network: the embedded model.
        recipe: with `EmbeddedSettings`.
        tokenizer: of the network.
        processing: of the network.
        batches_per_step: on all processes together.
    """

    def __init__(
        self,
        network: VisionLLM,
        recipe: Recipe,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        batches_per_step: int = 1,
    ) -> None:
        """Add the layers that label tokens."""
        super().__init__(network)
        self.labellers = TokenLabellers(network.config)
        self._recipe, self._tokenizer, self._processing = recipe, tokenizer, processing
        self._batches_per_step = batches_per_step

    def forward(self, batch: TrainingBatch) -> Losses:
        """Run one batch through the whole network."""
        options: EmbeddedSettings = self._recipe.options
        total, parts = compute_loss(
            self.network, batch, self.labellers, options.super_link_gradient
        )
        return Losses(total, parts)

    def open_batches(self, seed: int, *, held_out: bool = False) -> EmbeddedBatches:
        """Return the batches of rendered frames."""
        return EmbeddedBatches(
            find_cache(self._recipe.options, held_out=held_out),
            self._tokenizer,
            self._processing,
            self._recipe,
            (seed, int(held_out)),
            self._batches_per_step,
            find_household(self._recipe.options.household, held_out=held_out),
        )


class EmbeddedBatches:
    """Batches of cached frames by number.

    Args:
        cache: folder of frames.
        tokenizer: of the network.
        processing: of the network.
        recipe: with `EmbeddedSettings`.
        seed: of every batch, before its number.
        batches_per_step: on all processes together.
        household: folder of shards; None draws from the cache alone.
    """

    def __init__(
        self,
        cache: Path,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        recipe: Recipe,
        seed: tuple[int, ...],
        batches_per_step: int,
        household: Path | None,
    ) -> None:
        """Open the cache and the shards."""
        self._cache = TabletopCache(cache)
        self._household = None if household is None else open_household(household, self._cache)
        self._tokenizer, self._processing, self._recipe = tokenizer, processing, recipe
        self._seed, self._batches_per_step = seed, batches_per_step

    def __getitem__(self, number: int) -> TrainingBatch:
        """Draw one batch; those of a step all train the LLM, or none of them does."""
        step = number // self._batches_per_step
        return TabletopBatches(
            self._cache,
            self._tokenizer,
            self._processing,
            batch_size=self._recipe.batch,
            household=self._household,
            household_share=self._recipe.options.household_share,
            seed=(*self._seed, number),
        ).next(with_language=step % self._recipe.options.language_every == 0)


def open_embedded(recipe: Recipe, opening: Opening) -> EmbeddedObjective:
    """Render what the cache lacks, train a tokenizer if there is none, and make the network.

    Args:
        recipe: with `EmbeddedSettings`; its `init` may name a checkpoint of this architecture.
        opening: folder and sizes of the run.

    Raises:
        SimulationError: if frames cannot be rendered here.
        ConfigError: if the cache belongs to other settings.
        CheckpointError: if the checkpoint cannot be loaded.
    """
    folder = opening.folder
    render_frames(recipe.options, opening.report)
    if recipe.init:
        network = load_init(recipe.init, folder)
    else:
        if not (folder / "tokenizer.json").exists():
            opening.report("training the tokenizer", 0.0)
            train_tokenizer(folder, vocab_size=recipe.options.vocab_size, seed=recipe.seed)
        embedded_processing_config().save(folder)
        tokenizer = load_tokenizer(folder)
        torch.manual_seed(recipe.seed)
        network = VisionLLM(embedded_model_config(tokenizer.vocab_size), tokenizer.tokens)
        quiet_text_enhancers(network)
    tokenizer, processing = load_tokenizer(folder), ProcessingConfig.load(folder)
    return EmbeddedObjective(network, recipe, tokenizer, processing, opening.batches_per_step)


def find_household(folder: str, *, held_out: bool) -> Path | None:
    """Return the folder of shards to train on, or to measure on; None where there is none."""
    if not folder:
        return None
    path = Path(folder)
    if not held_out:
        return path
    beside = path.with_name(f"{path.name}_held_out")
    return beside if beside.is_dir() else None


def open_household(folder: Path, cache: TabletopCache) -> Household:
    """Open shards of household scenes.

    Raises:
        ConfigError: if their images are not as large as those of the cache.
        InputError: if the folder has no shards.
    """
    household = Household(HouseholdOptions(path=folder))
    if not len(household):
        raise ConfigError(f"{folder} has no scene that can be used; render it again")
    height, width = household.read_scene(0).rgb.shape[:2]
    if (width, height) != (cache.width, cache.height):
        raise ConfigError(
            f"{folder} has images of {width}x{height}, the table's have "
            f"{cache.width}x{cache.height}; expected the same"
        )
    return household


def load_init(init: str, folder: Path) -> VisionLLM:
    """Load the weights that a run starts from, and copy the files beside them."""
    copy_companions(find_init(init), folder)
    return load_model(find_init(init))


def render_frames(options: FrameSettings, report: Report) -> None:
    """Render what the caches lack of the frames to train on and to measure on."""
    for is_held_out, count, what in (
        (False, options.frames, "rendering frames"),
        (True, options.held_out_frames, "rendering held-out frames"),
    ):
        first = HELD_OUT_SEED if is_held_out else 0

        def show(done: int, total: int, what: str = what) -> None:
            report(what, done / total)

        render_cache(
            find_cache(options, held_out=is_held_out),
            range(first, first + count),
            progress=show,
        )


def find_cache(options: FrameSettings, *, held_out: bool) -> Path:
    """Return the folder of frames to train on, or to measure on."""
    cache = Path(options.cache)
    return cache.with_name(f"{cache.name}_held_out") if held_out else cache


@torch.no_grad()
def quiet_text_enhancers(model: VisionLLM, scale: float = 0.1) -> None:
    """Make the encoder's text layers start close to the identity.

    Fresh ones soon add the same large vector to every class, which helps to separate objects from
    the table but leaves the names nearly equal; learning them then takes very long.
    """
    for layer in get_decoder(model).encoder.layers:
        enhancer: nn.Module = layer.text_enhancer_layer
        enhancer.self_attn.out_proj.weight.mul_(scale)
        enhancer.fc2.weight.mul_(scale)
