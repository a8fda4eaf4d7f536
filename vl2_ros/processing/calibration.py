"""What a checkpoint knows about its own limits: where it was trained, and when it is not sure.

Stored as `calibration.json` beside the weights. It belongs to those weights alone and says so by
their identity. Knows no network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.documents import (
    check_list,
    check_number,
    check_object,
    check_text,
    is_file,
    read_json_object,
    shorten,
)
from vl2_ros.errors import ConfigError, ShapeError

FILE_NAME = "calibration.json"
_FORMAT = 2
#: Probabilities are kept this far from 0 and 1.
_LEAST_PROBABILITY = 1e-9
#: Digits that are stored; more would not change which frames are inside.
_DIGITS = 6


def pool_tokens(image_tokens: np.ndarray) -> np.ndarray:
    """Summarise the features of one tile: mean and standard deviation of each channel.

    Args:
        image_tokens: (T, C) features of its tokens, or (N, T, C) of several tiles.

    Returns:
        (2C,) or (N, 2C) float64.
    """
    values = image_tokens.astype(np.float64)
    return np.concatenate([values.mean(axis=-2), values.std(axis=-2)], axis=-1)


def log_odds(probability: float) -> float:
    """Return the logarithm of the odds of a probability, finite for 0 and 1."""
    kept = min(max(probability, _LEAST_PROBABILITY), 1.0 - _LEAST_PROBABILITY)
    return math.log(kept / (1.0 - kept))


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Which frames are like those of training, by features of the vision encoder.

    A frame's pooled features are standardised with the training frames' and projected on the
    direction that best separates these from other images.

    Attributes:
        center: (D,) mean of the pooled features of training frames.
        scale: (D,) their standard deviation.
        direction: (D,) away from the training frames.
        limit: projections up to it are inside.
    """

    center: np.ndarray
    scale: np.ndarray
    direction: np.ndarray
    limit: float

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ConfigError: if they differ, or a scale is not positive.
        """
        shapes = {array.shape for array in (self.center, self.scale, self.direction)}
        if len(shapes) != 1 or self.center.ndim != 1 or not len(self.center):
            raise ConfigError(
                f"center, scale and direction must be lists of one length, got {sorted(shapes)}"
            )
        if not (self.scale > 0).all():
            raise ConfigError("every scale must be positive")

    def project(self, image_tokens: np.ndarray) -> np.ndarray:
        """Return how far features lie from the training frames, below 0 for most of these.

        Args:
            image_tokens: (T, C) of one tile or (N, T, C) of several.

        Returns:
            () or (N,) float64.

        Raises:
            ShapeError: if their channels are not those of the statistics.
        """
        if 2 * image_tokens.shape[-1] != len(self.center):
            raise ShapeError(
                f"expected features of {len(self.center) // 2} channels, got "
                f"{image_tokens.shape[-1]}; calibrate the checkpoint again"
            )
        standardised = (pool_tokens(image_tokens) - self.center) / self.scale
        return np.asarray(standardised @ self.direction)

    def contains(self, image_tokens: np.ndarray) -> bool:
        """Return whether a frame with features (T, C) is like those of training."""
        return bool(self.project(image_tokens) <= self.limit)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The limits of a checkpoint; without any nothing is estimated.

    Attributes:
        domain: the frames that it was trained on; None where that is not known.
        yes_scale: factor on the log odds of "yes" against "no", above 0.
        yes_shift: added to them after that.
        least_answer_score: an answer "yes" or "no" of a smaller probability is not given.
        identity: of the weights; "" where there is nothing stored.
    """

    domain: Domain | None = None
    yes_scale: float = 1.0
    yes_shift: float = 0.0
    least_answer_score: float = 0.0
    identity: str = ""

    def __post_init__(self) -> None:
        """Check the range; NaN fits none."""
        if not 0.0 <= self.least_answer_score <= 1.0:
            raise ConfigError(f"least_answer_score must lie in 0..1, got {self.least_answer_score}")
        if not 0.0 < self.yes_scale < math.inf:
            raise ConfigError(f"yes_scale must be above 0 and finite, got {self.yes_scale}")
        if not math.isfinite(self.yes_shift):
            raise ConfigError(f"yes_shift must be finite, got {self.yes_shift}")

    def calibrate_score(self, score: float, *, says_yes: bool) -> float:
        """Return how often an answer "yes" or "no" of this probability was right.

        Args:
            score: probability of the said word against the other, in the network's own words.
            says_yes: which word it is.

        Returns:
            above 0 and below 1; `score` itself where nothing is stored.
        """
        if (self.yes_scale, self.yes_shift) == (1.0, 0.0):
            return score
        sign = 1.0 if says_yes else -1.0
        odds = self.yes_scale * sign * log_odds(score) + self.yes_shift
        return 1.0 / (1.0 + math.exp(-max(-20.0, min(20.0, sign * odds))))

    def save(self, folder: Path) -> Path:
        """Write `calibration.json` into a checkpoint folder and return its path."""
        document: dict[str, Any] = {
            "format": _FORMAT,
            "identity": self.identity,
            "yes_scale": self.yes_scale,
            "yes_shift": self.yes_shift,
            "least_answer_score": self.least_answer_score,
        }
        if self.domain is not None:
            document["domain"] = {
                "limit": self.domain.limit,
                **{
                    name: [float(f"{value:.{_DIGITS}g}") for value in getattr(self.domain, name)]
                    for name in ("center", "scale", "direction")
                },
            }
        path = folder / FILE_NAME
        path.write_text(json.dumps(document) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """Read `calibration.json` of a checkpoint folder; an empty one where there is none.

        Raises:
            ConfigError: if the file is damaged or of another format.
        """
        path = folder / FILE_NAME
        if not is_file(path):
            return cls()
        values = read_json_object(path, ConfigError)
        if values.get("format") != _FORMAT:
            raise ConfigError(
                f"{path} must have format {_FORMAT}, got {shorten(values.get('format'))}; "
                "calibrate the checkpoint again"
            )
        try:
            stored = values.get("domain")
            return cls(
                domain=None if stored is None else _read_domain(check_object("domain", stored)),
                **{
                    name: check_number(name, values.get(name))
                    for name in ("yes_scale", "yes_shift", "least_answer_score")
                },
                identity=check_text("identity", values.get("identity")),
            )
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}; calibrate the checkpoint again") from error


def _read_domain(stored: Mapping[str, Any]) -> Domain:
    arrays = {
        name: np.array(
            [check_number(name, value) for value in check_list(name, stored.get(name))], np.float64
        )
        for name in ("center", "scale", "direction")
    }
    return Domain(**arrays, limit=check_number("limit", stored.get("limit")))
