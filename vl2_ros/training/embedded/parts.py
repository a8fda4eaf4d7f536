"""Train parts of a finished embedded model: pose decoder, region encoder, the words for both.

The samples are those of the simulator, in the formats that every network is trained on. Where the
LLM learns as well, a frozen copy of the model holds its states at the slots of all commands that
were known before, so that boxes and masks stay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vl2_ros.datasets.mixture import Mixture, MixturePart
from vl2_ros.datasets.sources.simulator import TASKS, Simulator, SimulatorOptions
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.network import LanguageOutput, VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.pose_prompt import KEYPOINT_ROUTE
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.training.companions import copy_companions, find_init
from vl2_ros.training.conversations.batch import ConversationBatch
from vl2_ros.training.conversations.objective import ConversationObjective
from vl2_ros.training.conversations.settings import ConversationSettings
from vl2_ros.training.embedded.language import relative_distance
from vl2_ros.training.embedded.objective import find_cache, render_frames
from vl2_ros.training.embedded.part_sizes import add_parts
from vl2_ros.training.embedded.settings import PartsSettings
from vl2_ros.training.objective import Losses
from vl2_ros.training.objectives import Opening
from vl2_ros.training.recipes.recipe import Recipe

_REGION_TASKS = ("region_names", "interactive")
_POSE_TASKS = ("poses", "pose_commands")


def open_parts(recipe: Recipe, opening: Opening) -> ConversationObjective:
    """Render what the cache lacks, load the network, and add the parts that it lacks.

    Args:
        recipe: with `PartsSettings`; its `init` is a finished model.
        opening: folder and sizes of the run.

    Raises:
        ConfigError: if there is no `init`, no task has a share, or the cache belongs to other
            settings.
        CheckpointError: if the checkpoint cannot be loaded.
        SimulationError: if frames cannot be rendered here.
    """
    options: PartsSettings = recipe.options
    if not recipe.init:
        raise ConfigError(
            "parts are added to a finished model; name one, such as: --set init=embedded"
        )
    if not options.shares:
        raise ConfigError("no task has a share; set one, such as: --set options.poses=1")
    render_frames(options, opening.report)
    init = find_init(recipe.init)
    copy_companions(init, opening.folder)
    network = add_parts(
        load_model(init).float(),
        poses=not options.shares.keys().isdisjoint(_POSE_TASKS),
        regions=not options.shares.keys().isdisjoint(_REGION_TASKS),
    )
    return PartsObjective(
        network,
        load_tokenizer(opening.folder),
        ProcessingConfig.load(opening.folder),
        options,
        recipe.seed,
        teacher=load_model(init).float() if options.hold else None,
        batch_size=recipe.batch,
        batches_per_step=opening.batches_per_step,
    )


def open_mixture(options: PartsSettings, seed: int, *, held_out: bool) -> Mixture:
    """Return the tasks by their shares, on the frames to train on or to measure on."""
    parts = []
    for task, share in options.shares.items():
        source = Simulator(SimulatorOptions(path=find_cache(options, held_out=held_out), task=task))
        parts.append(MixturePart(source, TASKS[task][0], share))
    return Mixture(parts, seed=seed)


class PartsObjective(ConversationObjective):
    """Conversations about the simulator, with the slot states of the finished model held.

    Args:
        network: what is trained.
        tokenizer: of the network.
        processing: of the network.
        options: tasks, frames and weights.
        seed: of the order of frames.
        teacher: the finished model, whose states are held; None: the LLM is frozen.
        batch_size: conversations per batch.
        batches_per_step: on all processes together.
    """

    def __init__(
        self,
        network: VisionLLM,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        options: PartsSettings,
        seed: int,
        *,
        teacher: VisionLLM | None = None,
        batch_size: int = 4,
        batches_per_step: int = 1,
    ) -> None:
        """Open the frames and freeze the teacher."""
        super().__init__(
            network,
            tokenizer,
            processing,
            open_mixture(options, seed, held_out=False),
            open_mixture(options, seed, held_out=True),
            ConversationSettings(
                language_weight=options.language_weight, augmentation=options.augmentation
            ),
            batch_size=batch_size,
            batches_per_step=batches_per_step,
        )
        # In a list, so that it is no part of what is trained, saved and averaged.
        self._teacher = [] if teacher is None else [teacher.requires_grad_(False).eval()]
        self._hold = options.hold

    def gather_losses(self, batch: ConversationBatch, output: LanguageOutput) -> Losses:
        """Compute the losses of a batch, and how far the held states have moved."""
        losses = super().gather_losses(batch, output)
        if not self._teacher:
            return losses
        moved = self._measure_moved(batch, output.hidden)
        return Losses(losses.total + self._hold * moved, {**losses.parts, "moved": moved})

    def _measure_moved(self, batch: ConversationBatch, hidden: Tensor) -> Tensor:
        (teacher,) = self._teacher
        ids = batch.input_ids
        if teacher.super_link.det.weight.device != ids.device:
            teacher.to(ids.device)
        known = self._find_known(ids)
        if not known.any():
            return 0.0 * hidden.float().sum()
        slots = torch.tensor(teacher.super_link.ignored_labels(), device=ids.device)
        is_slot = torch.isin(ids[known], slots)
        with torch.no_grad():
            tokens = teacher.encode_images(batch.tiles, with_region_maps=False).image_tokens
            rows = (ids == teacher.super_link.tokens.image_patch).nonzero()[:, 0]
            held = teacher(
                ids[known],
                batch.attention_mask[known],
                tokens.flatten(0, 1)[known[rows]],
                with_logits=False,
            ).hidden
        return relative_distance(hidden[known][is_slot].float(), held[is_slot].float())

    def _find_known(self, ids: Tensor) -> Tensor:
        """Return (B,) bool, the rows of which the teacher knows what their slots are for."""
        (teacher,) = self._teacher
        tokens = teacher.super_link.tokens
        new = [tokens.region]
        if teacher.config.pose is None:
            new += [one for one, name in tokens.routing.items() if name == KEYPOINT_ROUTE.value]
        return ~torch.isin(ids, torch.tensor(new, device=ids.device)).any(dim=1)
