"""Train answers in words: the LLM learns to look up what a question names.

First labels stand for images, which needs no tower and shows many scenes in little time; then the
tower's tokens take their place. All the while a frozen copy of the model that the detection decoder
belongs to holds the states at the slots, so that boxes stay.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vl2_ros.datasets.scene_questions.balanced import QUESTIONS
from vl2_ros.datasets.tabletop import TabletopCache
from vl2_ros.errors import ConfigError
from vl2_ros.loading import load_processing
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.language.projector import shuffle_tokens
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.training.companions import find_init
from vl2_ros.training.embedded.language import relative_distance
from vl2_ros.training.embedded.objective import find_cache, load_init, render_frames
from vl2_ros.training.embedded.reading import read_packs
from vl2_ros.training.eyes.directions import CellLabels, LabelDirections
from vl2_ros.training.eyes.loss import compute_token_loss
from vl2_ros.training.loop.state import STATE_FILE
from vl2_ros.training.objective import Losses, Objective
from vl2_ros.training.objectives import Opening
from vl2_ros.training.recipes.recipe import Recipe
from vl2_ros.training.words.attention import PlaceReaders, compute_attention_loss, read_attended
from vl2_ros.training.words.batches import (
    HeldCommands,
    WordsBatch,
    WordsBatches,
    count_batches,
)
from vl2_ros.training.words.conversations import AskedPacks
from vl2_ros.training.words.label_scenes import make_label_tokens
from vl2_ros.training.words.projector_fit import fit_projector
from vl2_ros.training.words.settings import WordsSettings


class WordsObjective(Objective):
    """Projector and LLM, with the tower where the recipe trains it.

    Args:
        network: with merged vision tokens.
        teacher: frozen network whose slot states are held.
        recipe: with `WordsSettings`.
        tokenizer: of both.
        processing: of the network.
        teacher_processing: of the teacher.
        batches_per_step: on all processes together.
    """

    def __init__(
        self,
        network: VisionLLM,
        teacher: VisionLLM,
        recipe: Recipe,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        teacher_processing: ProcessingConfig,
        batches_per_step: int = 1,
    ) -> None:
        """Compute the directions of the labels."""
        super().__init__(network)
        self.directions = LabelDirections(network.config.vision["hidden_size"])
        self.readers = PlaceReaders(network.config.llm_width)
        # In a list, so that it is no part of what is trained, saved and averaged.
        self._teacher = [teacher.requires_grad_(False).eval()]
        self._recipe, self._tokenizer = recipe, tokenizer
        self._processing, self._teacher_processing = processing, teacher_processing
        self._batches_per_step = batches_per_step

    def forward(self, batch: WordsBatch) -> Losses:
        """Answer the questions of a batch, and compare what is held."""
        options: WordsSettings = self._recipe.options
        patches, parts = self._look(batch.pixels, batch.labels)
        total = options.labels * parts["token_labels"] if "token_labels" in parts else 0.0
        seen = read_attended(self.network, batch.asked.packs, self._project(patches))
        parts["words"], right = weighted_language_loss(self.network, seen.hidden, batch.asked)
        parts |= right
        if len(batch.asked.lookups.rows):
            parts["attention"], masses = compute_attention_loss(seen.weights, batch.asked.lookups)
            places = self.readers.compute_loss(seen.states, batch.asked.lookups)
            parts |= masses | places
            total = total + options.attention * parts["attention"]
            total = total + options.places * sum(places.values())
        parts["commands"], parts["moved"] = self._hold(batch.held, batch.pixels is not None)
        total = total + parts["words"] + options.command_weight * parts["commands"]
        return Losses(total + options.hold * parts["moved"], parts)

    def _look(self, pixels: Tensor | None, labels: CellLabels) -> tuple[Tensor, dict[str, Tensor]]:
        """Return patch tokens of images or of labels, and the loss of those of images."""
        if pixels is None:
            noisy = self.training
            return make_label_tokens(self.directions, labels, noisy=noisy), {}
        patches = self.network.encode_patches(pixels)
        if not patches.requires_grad:
            return patches, {}
        return patches, {"token_labels": compute_token_loss(self.directions, patches, labels)[0]}

    def _project(self, patches: Tensor) -> Tensor:
        tokens: Tensor = self.network.projector(shuffle_tokens(patches))
        return tokens

    def _hold(self, held: HeldCommands, with_images: bool) -> tuple[Tensor, Tensor]:
        """Return the language loss of commands, and how far their slot states moved."""
        network, (teacher,) = self.network, self._teacher
        if teacher.super_link.det.weight.device != held.pixels.device:
            teacher.to(held.pixels.device)
        with torch.no_grad():
            seen = teacher.encode_images(held.teacher_pixels).image_tokens
            (expected,) = read_packs(teacher, [(held.packs, seen)])
        patches, _ = self._look(held.pixels if with_images else None, held.labels)
        (hidden,) = read_packs(network, [(held.packs, self._project(patches))])
        ignored = torch.tensor(network.super_link.ignored_labels(), device=hidden.device)
        slots = torch.isin(held.packs.input_ids, ignored)
        return (
            network.language_loss(hidden, held.packs.labels),
            relative_distance(hidden[slots].float(), expected[slots].float()),
        )

    def open_batches(self, seed: int, *, held_out: bool = False) -> WordsBatches:
        """Return batches of rendered frames; held out, every question is asked about images."""
        recipe = self._recipe
        return WordsBatches(
            TabletopCache(find_cache(recipe.options, held_out=held_out)),
            self._tokenizer,
            self._processing,
            self._teacher_processing,
            self.network.config.vision_grid,
            recipe.options,
            recipe.batch,
            None if held_out else count_batches(recipe.steps, self._batches_per_step),
            (seed, int(held_out)),
        )


def weighted_language_loss(
    network: VisionLLM, hidden: Tensor, asked: AskedPacks
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted cross entropy of the answers, and what of them is right.

    Args:
        network: whose head reads the states.
        hidden: (B, T, C) states of the packs.
        asked: labels and weights.

    Returns:
        The loss; for each kind of question that was asked the share whose deciding words are all
        right, given the words before them.
    """
    labels, weights, keys = (one[:, 1:] for one in (asked.packs.labels, asked.weights, asked.keys))
    taught = weights > 0
    logits = network.llm.lm_head(hidden[:, :-1][taught]).float()
    losses = nn.functional.cross_entropy(logits, labels[taught], reduction="none")
    shares = weights[taught]
    wrong = logits.detach().argmax(-1) != labels[taught]
    decided, names = keys[taught], asked.names
    is_wrong = torch.zeros(len(names), dtype=torch.bool, device=names.device)
    is_wrong[decided[wrong & (decided >= 0)]] = True
    has_key = torch.zeros_like(is_wrong)
    has_key[decided[decided >= 0]] = True
    right = {}
    for index, name in enumerate(QUESTIONS):
        chosen = has_key & (names == index)
        if chosen.any():
            right[f"{name}_right"] = 1.0 - is_wrong[chosen].float().mean()
    return (losses * shares).sum() / shares.sum(), right


def open_words(recipe: Recipe, opening: Opening) -> WordsObjective:
    """Render what the cache lacks, load network and teacher, and fit the projector of a new run.

    Args:
        recipe: with `WordsSettings`; its `init` has merged vision tokens, as `embedded_eyes` makes
            them.
        opening: folder of the run.

    Raises:
        SimulationError: if frames cannot be rendered here.
        ConfigError: if there is no `init`, the run is measured in epochs, or network and teacher do
            not go together.
        CheckpointError: if a checkpoint cannot be loaded.
    """
    if not recipe.init or not recipe.steps:
        raise ConfigError(
            "training answers in words needs steps, and a checkpoint of embedded_eyes to start "
            "from, such as: --set init=training_runs/embedded_eyes/best"
        )
    folder = opening.folder
    network = load_init(recipe.init, folder).float()
    source = find_init(recipe.options.teacher)
    teacher, teacher_processing = load_model(source).float(), load_processing(source)
    check_pair(network, teacher)
    if recipe.options.language:
        take_language(network, load_model(find_init(recipe.options.language)))
    render_frames(recipe.options, opening.report)
    objective = WordsObjective(
        network,
        teacher,
        recipe,
        load_tokenizer(folder),
        ProcessingConfig.load(folder),
        teacher_processing,
        opening.batches_per_step,
    )
    if recipe.options.fit_steps and not (folder / STATE_FILE).exists():
        opening.report("fitting the projector", 0.0)
        fit_projector(
            network,
            objective.directions,
            load_tokenizer(folder),
            objective.open_batches(recipe.seed).draw_labels,
            recipe.options.fit_steps,
        )
    return objective


def take_language(network: VisionLLM, other: VisionLLM) -> None:
    """Give a network the projector and the LLM of another one.

    So labels can stand for images in one run while the tower is trained in another.

    Raises:
        ConfigError: if their sizes differ.
    """
    for part in ("projector", "llm"):
        own, given = network.get_submodule(part), other.get_submodule(part)
        sizes = [
            {name: tuple(value.shape) for name, value in one.state_dict().items()}
            for one in (own, given)
        ]
        if sizes[0] != sizes[1]:
            raise ConfigError(
                f"options.language has a {part} of other sizes than init; name a checkpoint that "
                "began with the same one"
            )
        own.load_state_dict(given.state_dict())


def check_pair(network: VisionLLM, teacher: VisionLLM) -> None:
    """Check that a teacher can hold the slot states of a network.

    Raises:
        ConfigError: with what differs.
    """
    if not network.config.use_pixel_shuffle:
        raise ConfigError(
            "expected a network whose vision tokens are merged, got one without; run the recipe "
            "embedded_eyes first and name its checkpoint with init"
        )
    for what, own, other in (
        ("image tokens", network.config.tokens_per_tile, teacher.config.tokens_per_tile),
        ("LLM widths", network.config.llm_width, teacher.config.llm_width),
        ("special tokens", network.tokens, teacher.tokens),
    ):
        if own != other:
            raise ConfigError(
                f"network and teacher have different {what}: {own} and {other}; name the "
                "checkpoint that training began with as options.teacher"
            )
