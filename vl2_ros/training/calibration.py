"""Calibrate a checkpoint: which images are like its training, and when a yes or no is a guess.

    domain              fitted on simulated frames of several sizes, as they are and with the noise
                        of training and of JPEG, against other images; its limit lets all but
                        `OUTSIDE_SHARE` of the tuning frames in
    yes_scale,          fitted to how often "yes" to questions about tuning frames is right, so that
    yes_shift           its probability says so
    least_answer_score  the smallest from which on `RIGHT_SHARE` of the answers "yes" and "no" to
                        questions about tuning frames are right, 1 where none is

Seeds to fit on lie below 1,000,000, those to tune on from there to 9,499,999; what is reported
comes from later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from scipy import optimize

from vl2_ros.datasets.nouns import with_article
from vl2_ros.datasets.scene_text import SceneObject, draw_existence
from vl2_ros.errors import InputError
from vl2_ros.processing.calibration import Calibration, Domain, log_odds, pool_tokens
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.image_file import read_image
from vl2_ros.processing.images.preprocess import preprocess_vision
from vl2_ros.runtime.engine import Engines, to_numpy
from vl2_ros.sim.tabletop import TabletopSimulator
from vl2_ros.structures import Command, Frame, ModelInfo, Result
from vl2_ros.training.embedded.tabletop_batches import relight

FIT_SEED, TUNE_SEED = 0, 1_000_000
#: (width, height) of the frames; the first ones come most often.
SIZES = ((320, 240), (640, 480), (320, 240), (640, 360), (480, 480), (360, 480))
OUTSIDE_SHARE = 0.002
RIGHT_SHARE = 0.9
#: Fewer answers than this say nothing about their share.
_LEAST_ANSWERS = 50
#: Smallest and largest factor on log odds.
_LEAST_SCALE, _MOST_SCALE = 0.01, 10.0
#: Share of the mean square of a feature that is added to it, so that no direction is by chance.
_RIDGE = 0.03
_SUFFIXES = (".jpg", ".jpeg", ".png")
_QUALITIES = (70, 96)

#: Called with (done, total).
Progress = Callable[[int, int], None]


class CalibratedPipeline(Protocol):
    """The calibrated model, without an own calibration."""

    engines: Engines
    processing: ProcessingConfig

    @property
    def info(self) -> ModelInfo:
        """Return the model's info."""

    def answer(self, frame: Frame | None, command: Command) -> Result:
        """Return the complete answer to one command."""


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Pooled features of frames (N, D), and what was asked about them.

    Attributes:
        features: (N, D) of all frames, as they are and with noise.
        scores: (A,) of answers "yes" and "no".
        says_yes: (A,) bool, which word.
        is_right: (A,) bool.
    """

    features: np.ndarray
    scores: np.ndarray
    says_yes: np.ndarray
    is_right: np.ndarray


def calibrate(
    pipeline: CalibratedPipeline,
    unlike: Sequence[Path],
    *,
    fit_frames: int = 1500,
    tune_frames: int = 1000,
    progress: Progress | None = None,
) -> Calibration:
    """Find the limits of a model.

    Args:
        pipeline: the model.
        unlike: folders of images that are unlike its training, such as photos.
        fit_frames: simulated frames to fit the domain on.
        tune_frames: further ones to choose both limits on.
        progress: called after every frame.

    Raises:
        InputError: if there are no images in a folder, or no frames.
    """
    if fit_frames < 1 or tune_frames < 1:
        raise InputError(f"expected frames to fit and to tune on, got {fit_frames}, {tune_frames}")
    report = progress or (lambda done, total: None)
    total = fit_frames + tune_frames
    others = _encode_images(pipeline, unlike)
    fit = _look(pipeline, FIT_SEED, fit_frames, lambda done: report(done, total), ask=False)
    domain = fit_domain(fit.features, others)
    tune = _look(
        pipeline, TUNE_SEED, tune_frames, lambda done: report(fit_frames + done, total), ask=True
    )
    projected = (tune.features - domain.center) / domain.scale @ domain.direction
    limit = float(np.quantile(projected, 1.0 - OUTSIDE_SHARE))
    scale, shift = fit_yes_odds(tune.scores, tune.says_yes, tune.is_right)
    answers = Calibration(yes_scale=scale, yes_shift=shift)
    scores = [
        answers.calibrate_score(score, says_yes=says_yes)
        for score, says_yes in zip(tune.scores.tolist(), tune.says_yes.tolist(), strict=True)
    ]
    return Calibration(
        Domain(domain.center, domain.scale, domain.direction, limit),
        scale,
        shift,
        choose_least_score(np.array(scores), tune.is_right),
        pipeline.info.identity,
    )


def fit_domain(inside: np.ndarray, outside: np.ndarray) -> Domain:
    """Fit the direction that separates frames of training from other images by least squares.

    Args:
        inside: (N, D) pooled features of frames of training.
        outside: (M, D) pooled features of other images.

    Returns:
        The domain with the limit 0, halfway between both.
    """
    center, scale = inside.mean(axis=0), inside.std(axis=0) + 1e-6
    rows = (np.concatenate([inside, outside]) - center) / scale
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    target = np.repeat([-1.0, 1.0], [len(inside), len(outside)])
    # Both sides weigh the same, however many images there are.
    weights = np.repeat([0.5 / len(inside), 0.5 / len(outside)], [len(inside), len(outside)])
    moments = (rows * weights[:, None]).T @ rows
    moments += _RIDGE * np.eye(len(moments))
    solution = np.linalg.solve(moments, (rows * weights[:, None]).T @ target)
    direction, offset = solution[:-1], solution[-1]
    # The offset moves into the center, which keeps one number less.
    shift = offset * direction / (direction @ direction)
    return Domain(center - shift * scale, scale, direction, 0.0)


def fit_yes_odds(
    scores: np.ndarray, says_yes: np.ndarray, is_right: np.ndarray
) -> tuple[float, float]:
    """Fit scale and shift of the log odds of "yes" to what is right, as Platt did.

    J. Platt, "Probabilistic outputs for support vector machines", 1999.

    Args:
        scores: (A,) probability of what was said.
        says_yes: (A,) bool.
        is_right: (A,) bool.

    Returns:
        1 and 0, which change nothing, for fewer than `_LEAST_ANSWERS` answers.
    """
    if len(scores) < _LEAST_ANSWERS:
        return 1.0, 0.0
    signs = np.where(says_yes, 1.0, -1.0)
    odds = signs * [log_odds(score) for score in scores]
    # +1 where it is yes in truth, -1 where it is no.
    truth = np.where(says_yes == is_right, 1.0, -1.0)

    def measure(found: np.ndarray) -> float:
        margins = truth * (found[0] * odds + found[1])
        return float(np.logaddexp(0.0, -margins).mean())

    # More of it never says less, and what is always right is not made surer without end.
    bounds = [(_LEAST_SCALE, _MOST_SCALE), (None, None)]
    scale, shift = optimize.minimize(measure, [1.0, 0.0], method="L-BFGS-B", bounds=bounds).x
    return float(scale), float(shift)


def choose_least_score(scores: np.ndarray, is_right: np.ndarray) -> float:
    """Return the smallest score from which on `RIGHT_SHARE` of the answers are right; 1 if none.

    Args:
        scores: (A,) in 0..1.
        is_right: (A,) bool.
    """
    order = np.argsort(-scores, kind="stable")
    shares = np.cumsum(is_right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(shares >= RIGHT_SHARE)
    if not len(good) or good[-1] + 1 < _LEAST_ANSWERS:
        return 1.0
    return float(scores[order[good[-1]]])


def list_images(folders: Sequence[Path]) -> list[Path]:
    """List the image files below some folders, sorted.

    Raises:
        InputError: if there is none.
    """
    found = sorted(
        path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES
    )
    if not found:
        raise InputError(
            f"expected folders with .jpg or .png images unlike those of training, found none in "
            f"{', '.join(map(str, folders)) or 'no folder'}"
        )
    return found


def encode_frame(pipeline: CalibratedPipeline, frame: Frame) -> np.ndarray:
    """Return the pooled features (D,) of a frame; of its last tile, which shows all of it."""
    pixels = preprocess_vision(frame, pipeline.processing)[-1:]
    tokens = to_numpy(pipeline.engines.vision_encoder.run({"pixels": pixels})["image_tokens"])
    return pool_tokens(tokens.reshape(-1, tokens.shape[-1]))


def add_noise(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image with the noise of training, and of JPEG."""
    quality = int(rng.integers(*_QUALITIES))
    _, data = cv2.imencode(".jpg", relight(rgb, rng), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


def render_sizes(start: int, count: int) -> Iterator[tuple[np.ndarray, Sequence[SceneObject], int]]:
    """Yield image, objects and seed of frames in the sizes of `SIZES`, size by size."""
    for index, (width, height) in enumerate(SIZES):
        with TabletopSimulator(width=width, height=height) as simulator:
            for seed in range(start + index, start + count, len(SIZES)):
                view = simulator.render(seed)
                yield view.rgb, view.objects, seed


def _encode_images(pipeline: CalibratedPipeline, folders: Sequence[Path]) -> np.ndarray:
    return np.stack([encode_frame(pipeline, read_image(path)) for path in list_images(folders)])


def _look(
    pipeline: CalibratedPipeline,
    start: int,
    count: int,
    report: Callable[[int], None],
    *,
    ask: bool,
) -> _Views:
    features: list[np.ndarray] = []
    answers: list[tuple[float, bool, bool]] = []
    for done, (rgb, objects, seed) in enumerate(render_sizes(start, count)):
        rng = np.random.default_rng(seed)
        features += [encode_frame(pipeline, Frame(image)) for image in (rgb, add_noise(rgb, rng))]
        if ask and objects:
            answers += _ask(pipeline, Frame(rgb), objects, rng)
        report(done + 1)
    scores, says_yes, is_right = zip(*answers, strict=True) if answers else ((), (), ())
    return _Views(
        np.stack(features),
        np.array(scores, np.float64),
        np.array(says_yes, np.bool_),
        np.array(is_right, np.bool_),
    )


def _ask(
    pipeline: CalibratedPipeline,
    frame: Frame,
    objects: Sequence[SceneObject],
    rng: np.random.Generator,
) -> Iterator[tuple[float, bool, bool]]:
    """Ask for a thing that is there and one that is not.

    Yields:
        The score, whether it is that of a yes, and whether that is right.
    """
    for thing, is_there in draw_existence(objects, rng):
        command = Command(f"Is there {with_article(thing.phrase)}?", max_new_tokens=4)
        result = pipeline.answer(frame, command)
        if result.answer_score is not None:
            says_yes = result.raw_text.strip().lower().startswith("yes")
            yield result.answer_score, says_yes, says_yes == is_there
