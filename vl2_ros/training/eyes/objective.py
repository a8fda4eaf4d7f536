"""Train the vision tower of the embedded model on labels of its tokens.

The tower of the checkpoint is enlarged first, unless it was before. What comes behind it is not
trained, and the states that it was trained on are no longer there: the LLM learns to read the new
tokens afterwards.
"""

from __future__ import annotations

from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.training.companions import copy_companions, find_init
from vl2_ros.training.embedded.objective import find_cache, render_frames
from vl2_ros.training.eyes.batches import EyesBatch, EyesBatches, open_parts
from vl2_ros.training.eyes.directions import LabelDirections
from vl2_ros.training.eyes.loss import compute_token_loss, measure_tokens
from vl2_ros.training.eyes.tower import enlarge_processing, enlarge_vision
from vl2_ros.training.objective import Losses, Objective
from vl2_ros.training.objectives import Opening
from vl2_ros.training.recipes.recipe import Recipe


class EyesObjective(Objective):
    """The vision tower alone.

    Args:
        network: with the enlarged tower.
        recipe: with `EyesSettings`.
        processing: of the network.
    """

    def __init__(self, network: VisionLLM, recipe: Recipe, processing: ProcessingConfig) -> None:
        """Compute the directions of the labels."""
        super().__init__(network)
        self.directions = LabelDirections(network.config.vision["hidden_size"])
        self._recipe, self._processing = recipe, processing

    def forward(self, batch: EyesBatch) -> Losses:
        """Compare the tower's tokens with the labels of their cells."""
        tokens = self.network.encode_patches(batch.vision_pixels)
        total, parts = compute_token_loss(self.directions, tokens, batch.labels)
        return Losses(total, parts | measure_tokens(self.directions, tokens, batch.labels))

    def open_batches(self, seed: int, *, held_out: bool = False) -> EyesBatches:
        """Return batches of rendered frames and of the recipe's sources."""
        cache = find_cache(self._recipe.options, held_out=held_out)
        return EyesBatches(
            open_parts(self._recipe, cache, held_out=held_out),
            self._processing,
            self.network.config.vision_grid,
            self._recipe.batch,
            (seed, int(held_out)),
            augmented=not held_out,
        )


def open_eyes(recipe: Recipe, opening: Opening) -> EyesObjective:
    """Render what the cache lacks, load the checkpoint and enlarge its tower.

    Args:
        recipe: with `EyesSettings` and a checkpoint to start from.
        opening: folder of the run.

    Raises:
        SimulationError: if frames cannot be rendered here.
        ConfigError: if there is no `init`, or its tower cannot be enlarged.
        CheckpointError: if the checkpoint cannot be loaded.
    """
    if not recipe.init:
        raise ConfigError(
            "training the vision tower needs a checkpoint to start from; name one, such as: "
            "--set init=embedded"
        )
    init = find_init(recipe.init)
    network = enlarge_vision(load_model(init).float(), recipe.options.side)
    copy_companions(init, opening.folder, lambda one: enlarge_processing(one, network))
    render_frames(recipe.options, opening.report)
    return EyesObjective(network, recipe, ProcessingConfig.load(opening.folder))
