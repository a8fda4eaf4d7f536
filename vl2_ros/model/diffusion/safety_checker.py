"""The safety checker that a Stable Diffusion folder may have: finds unsafe images.

A release has no weights of it; they are read from the folder. Images of a folder that neither
has nor names one cannot be checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.folder import DiffusionFolder


class SafetyCheckerGraph(nn.Module):
    """`pixels` (1, 3, S, S) of CLIP -> `concept_margins` (1, N), `special_margins` (1, M).

    A margin is the likeness to a concept less its limit; what they mean together is decided by the
    runtime.
    """

    def __init__(self, classifier: nn.Module) -> None:
        """Share the weights of diffusers' classifier."""
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Compare one image with every concept."""
        known: Any = self.classifier
        pixels = pixels.to(known.visual_projection.weight.dtype)
        seen = known.visual_projection(known.vision_model(pixels)[1])
        return (
            _compare(seen, known.concept_embeds, known.concept_embeds_weights),
            _compare(seen, known.special_care_embeds, known.special_care_embeds_weights),
        )


def _compare(seen: Tensor, concepts: Tensor, limits: Tensor) -> Tensor:
    """Return the cosines (1, N) of an embedding (1, D) and of concepts (N, D), less limits (N,)."""
    unit = nn.functional.normalize
    return (unit(seen) @ unit(concepts).T).float() - limits.float()


def load_safety_checker(
    folder: DiffusionFolder,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> SafetyCheckerGraph | None:
    """Load the safety checker of a folder; None where the folder neither has nor names one.

    Raises:
        CheckpointError: if it is missing though named, incomplete or damaged; then nothing may be
            shown unchecked.
    """
    found = folder.find_safety()
    if found is None:
        return None
    classifier = _read_classifier(found[0]).to(device=device, dtype=dtype)
    return SafetyCheckerGraph(classifier).eval()


def _read_classifier(path: Path) -> nn.Module:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    try:
        classifier, report = StableDiffusionSafetyChecker.from_pretrained(
            path, local_files_only=True, output_loading_info=True
        )
    # The library names no errors of its own.
    except Exception as error:
        raise CheckpointError(f"cannot read the safety checker in {path}: {error}") from error
    problems = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if problems:
        # Left to the library, these would be fresh weights: a checker that sees nothing.
        raise CheckpointError(
            f"the safety checker in {path} lacks {len(problems)} tensors: "
            f"{', '.join(problems[:5])}; copy the folder again"
        )
    return classifier
