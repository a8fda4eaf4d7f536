"""The safety checker that a Stable Diffusion folder may have: finds unsafe images.

A release has no weights of it; they are read from the folder. Images of a folder that neither
has nor names one cannot be checked.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.diffusion.graphs import SafetyCheckerGraph


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
