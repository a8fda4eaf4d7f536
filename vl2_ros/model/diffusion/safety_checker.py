"""The safety checker that a Stable Diffusion folder may have: finds unsafe images.

A release has no weights of it; they are read from the folder. Images of a folder that neither
has nor names one cannot be checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.folder import DiffusionFolder


class SafetyChecker(nn.Module):
    """Finds images that should not be shown; it does not change them."""

    def __init__(self, classifier: nn.Module, processor: Any) -> None:
        """Wrap diffusers' classifier and the processor of its images."""
        super().__init__()
        self.classifier = classifier
        self._processor = processor

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> list[bool]:
        """Return for each image whether it is unsafe.

        Args:
            pixels: (B, 3, H, W), -1..1; what lies outside is clipped.
        """
        shares = (pixels.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        images = list((shares * 255).round().astype(np.uint8))
        inputs = self._processor(images, return_tensors="pt").pixel_values
        weight = self.classifier.visual_projection.weight
        # The classifier blackens what it is given: it gets a stand-in for each image.
        blanks = [np.zeros(1) for _ in images]
        return self.classifier(inputs.to(weight.device, weight.dtype), blanks)[1]


def load_safety_checker(
    folder: DiffusionFolder,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> SafetyChecker | None:
    """Load the safety checker of a folder; None where the folder neither has nor names one.

    Raises:
        CheckpointError: if it is missing though named, incomplete or damaged; then nothing may be
            shown unchecked.
    """
    if folder.safety_checker is None:
        return None
    if not folder.safety_checker.is_dir():
        raise CheckpointError(
            f"{folder.path} names a safety checker in model_index.json, but {folder.safety_checker}"
            " is not there; copy that folder as well"
        )
    if folder.feature_extractor is None:
        raise CheckpointError(
            f"{folder.path} has a safety checker, but no feature_extractor with the settings of "
            "its images; copy that folder as well"
        )
    processor = _read_processor(folder.feature_extractor)
    classifier = _read_classifier(folder.safety_checker).to(device=device, dtype=dtype)
    return SafetyChecker(classifier, processor).eval()


def _read_processor(path: Path) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    try:
        return CLIPImageProcessorPil.from_pretrained(path, local_files_only=True)
    # The library names no errors of its own.
    except Exception as error:
        raise CheckpointError(f"cannot read the feature extractor in {path}: {error}") from error


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
