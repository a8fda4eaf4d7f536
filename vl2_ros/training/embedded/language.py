"""Train the language side of a finished model, with its detection decoder as it is.

The decoder knows a class by the LLM's states at the slots. So while the LLM learns to choose
routes, copy names and answer in words, a frozen copy of the model holds those states where they
were: the decoder takes no part, and reads the new model as it read the old one.
"""

from __future__ import annotations

import torch

from vl2_ros.datasets.tabletop import TabletopCache
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.training.companions import find_init
from vl2_ros.training.embedded.language_batches import LanguageBatch, LanguageBatches
from vl2_ros.training.embedded.loss import TokenLabeller
from vl2_ros.training.embedded.objective import find_cache, load_init, render_frames
from vl2_ros.training.embedded.reading import read_packs
from vl2_ros.training.embedded.settings import LanguageSettings
from vl2_ros.training.objective import Losses, Objective
from vl2_ros.training.objectives import Opening
from vl2_ros.training.recipes.recipe import Recipe


class LanguageObjective(Objective):
    """The language side alone.

    Args:
        network: starts as the teacher is.
        teacher: frozen network whose slot states are held.
        recipe: with `LanguageSettings`.
        tokenizer: of the network.
        processing: of the network.
    """

    def __init__(
        self,
        network: VisionLLM,
        teacher: VisionLLM,
        recipe: Recipe,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
    ) -> None:
        """Add the layer that labels image tokens."""
        super().__init__(network)
        self.labeller = TokenLabeller(network.config.llm_width)
        # In a list, so that it is no part of what is trained, saved and averaged.
        self._teacher = [teacher.requires_grad_(False).eval()]
        self._recipe, self._tokenizer, self._processing = recipe, tokenizer, processing

    def forward(self, batch: LanguageBatch) -> Losses:
        """Run one batch through the network and through its frozen copy."""
        options: LanguageSettings = self._recipe.options
        (teacher,) = self._teacher
        if teacher.super_link.det.weight.device != batch.vision_pixels.device:
            teacher.to(batch.vision_pixels.device)
        total, parts = compute_language_loss(
            self.network, teacher, batch, self.labeller, options.hold
        )
        return Losses(total, parts)

    def open_batches(self, seed: int, *, held_out: bool = False) -> LanguageBatches:
        """Return the batches of rendered frames."""
        recipe = self._recipe
        return LanguageBatches(
            TabletopCache(find_cache(recipe.options, held_out=held_out)),
            self._tokenizer,
            self._processing,
            recipe.options,
            recipe.batch,
            (seed, int(held_out)),
        )


def open_language(recipe: Recipe, opening: Opening) -> LanguageObjective:
    """Render what the cache lacks and load the network twice, once as the frozen teacher.

    Args:
        recipe: with `LanguageSettings`; the decoder of the result is that of its `init`.
        opening: folder of the run.

    Raises:
        SimulationError: if frames cannot be rendered here.
        ConfigError: if there is no `init`, or the cache belongs to other settings.
        CheckpointError: if the checkpoint cannot be loaded.
    """
    if not recipe.init:
        raise ConfigError(
            "training the language side alone needs a finished checkpoint whose decoder is kept; "
            "name one, such as: --set init=embedded"
        )
    folder = opening.folder
    render_frames(recipe.options, opening.report)
    network = load_init(recipe.init, folder)
    teacher = load_model(find_init(recipe.init))
    return LanguageObjective(
        network, teacher, recipe, load_tokenizer(folder), ProcessingConfig.load(folder)
    )


def compute_language_loss(
    model: VisionLLM,
    teacher: VisionLLM,
    batch: LanguageBatch,
    labeller: TokenLabeller,
    hold: float,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss of one batch and its parts for the log.

    Args:
        model: in training mode.
        teacher: the model as it was, frozen.
        batch: images and what is said about them.
        labeller: gives the loss on what the image tokens show.
        hold: weight of the slot states' distance to the teacher's.

    Returns:
        The total loss; its parts are the language loss with and without an image, the labels of
        the image tokens, and the squared distance of the slot states in units of their variance.
    """
    packs, blind = batch.packs, batch.blind_packs
    tokens = model.encode_images(batch.vision_pixels).image_tokens  # (B, M, C)
    hidden, said = read_packs(model, [(packs, tokens), (blind, None)])
    with torch.no_grad():
        seen = teacher.encode_images(batch.vision_pixels).image_tokens
        (held,) = read_packs(teacher, [(packs, seen)])
    slots = torch.isin(
        packs.input_ids,
        torch.tensor(model.super_link.ignored_labels(), device=packs.input_ids.device),
    )
    parts = {
        "lm": model.language_loss(hidden, packs.labels),
        "lm_blind": model.language_loss(said, blind.labels),
        "image_tokens": labeller.compute_loss(tokens, batch.image_token_labels),
        "moved": relative_distance(hidden[slots].float(), held[slots].float()),
    }
    # Three in four conversations are blind.
    language = parts["lm"] + 3.0 * parts["lm_blind"]
    return 0.5 * language + parts["image_tokens"] + hold * parts["moved"], parts


def relative_distance(states: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of (n, C) states over the variance of the teacher's."""
    if len(held) < 2:
        return 0.0 * states.sum()
    return (states - held).square().mean() / held.var(dim=0).mean()
