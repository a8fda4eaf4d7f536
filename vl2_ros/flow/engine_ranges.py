"""Compare the ranges of shapes that engines accept with the calls that commands make.

An engine that was built for fewer tiles than the checkpoint cuts an image into makes the pipeline
cut it into fewer. Knows no inference library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vl2_ros.errors import EngineError
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.prompt_length import measure_prompts, most_image_tiles
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.runtime.engine import Engines, Ranges

_ANY = (0, 1 << 31)


@dataclass(frozen=True, slots=True)
class Misfit:
    """Sizes that commands need and an engine does not accept.

    Attributes:
        graph: name of the graph.
        axis: whose sizes they are.
        least: smallest size that is needed.
        most: largest size.
        beside: sizes of the other axes in these calls.
    """

    graph: str
    axis: str
    least: int
    most: int
    beside: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say which sizes are needed."""
        others = ", ".join(f"{axis} {size}" for axis, size in self.beside.items())
        sizes = str(self.most) if self.least == self.most else f"{self.least} to {self.most}"
        return f"{self.graph} must take {self.axis} {sizes}" + (f" at {others}" if others else "")


def find_misfits(
    ranges: Mapping[str, Ranges], tokenizer: Tokenizer, config: ProcessingConfig
) -> list[Misfit]:
    """Return what commands about one image need and engines do not accept.

    Args:
        ranges: name of a graph -> its ranges; graphs that are not there are not looked at.
        tokenizer: of the checkpoint.
        config: how images are cut, and how long prompts may be.
    """
    lengths, tiles = measure_prompts(tokenizer, config), most_image_tiles(config)
    last = lengths.longest + lengths.answer
    needed = [
        *(Misfit(name, "tiles", 1, tiles) for name in ("vision_encoder", "region_encoder")),
        Misfit("region_encoder", "regions", 1, 1),
        Misfit("language_model", "tokens", lengths.shortest, lengths.longest, {"past": 0}),
        *(
            Misfit("language_model", "past", lengths.shortest, last, {"tokens": step})
            for step in lengths.steps
        ),
        *(
            Misfit(name, axis, 1, 1)
            for name in PERCEPTION_PARTS
            for axis in ("classes", "keypoints")
        ),
    ]
    return [one for one in needed if not _accepts(ranges.get(one.graph, ()), one)]


def cut_to_fit(
    ranges: Mapping[str, Ranges], tokenizer: Tokenizer, config: ProcessingConfig
) -> ProcessingConfig | None:
    """Return the settings with the most tiles that engines accept; None if not even one fits."""
    for tiles in range(config.max_tiles, 0, -1):
        cut = replace(config, max_tiles=tiles)
        if not find_misfits(ranges, tokenizer, cut):
            return cut
    return None


def fit_processing(
    engines: Engines, tokenizer: Tokenizer, config: ProcessingConfig
) -> ProcessingConfig:
    """Return the settings with which commands fit engines: tiles, longest prompt, most names.

    Raises:
        EngineError: if not even an image of one tile fits.
    """
    ranges = _list_ranges(engines)
    cut = cut_to_fit(ranges, tokenizer, config)
    if cut is None:
        misfits = find_misfits(ranges, tokenizer, replace(config, max_tiles=1))
        raise EngineError(
            "the engines are too small for the prompts of the checkpoint: "
            f"{'; '.join(map(str, misfits))}; widen these ranges in the profile and build them "
            "again with `vl2 engines build`"
        )
    answer = measure_prompts(tokenizer, cut).answer
    language = ranges["language_model"]
    longest = min(most_of(language, "tokens", past=0), most_of(language, "past", tokens=1) - answer)
    decoders = [ranges[name] for name in PERCEPTION_PARTS if name in ranges]

    def most_of_any(axis: str) -> int:
        counted = [one for one in decoders if any(axis in span for span in one)]
        return max((most_of(one, axis) for one in counted), default=_ANY[1])

    return replace(
        cut,
        max_length=min(cut.max_length, longest),
        max_classes=min(cut.max_classes, most_of_any("classes")),
        max_keypoints=min(cut.max_keypoints, most_of_any("keypoints")),
    )


def _list_ranges(engines: Engines) -> dict[str, Ranges]:
    return {one.info.graph: one.info.ranges for one in engines.graphs}


def most_of(ranges: Ranges, axis: str, **beside: int) -> int:
    """Return the largest size of an axis that an engine accepts; huge where it accepts any.

    Args:
        ranges: of the engine.
        axis: its name.
        beside: sizes of other axes in the same call.
    """
    spans = [
        one.get(axis, _ANY)[1]
        for one in ranges
        if all(_lies_in(size, one.get(name, _ANY)) for name, size in beside.items())
    ]
    return max(spans, default=0) if ranges else _ANY[1]


def _accepts(ranges: Ranges, needed: Misfit) -> bool:
    """Return whether ranges cover every size of an axis, one behind the other maybe."""
    if not ranges:
        return True
    spans = sorted(
        one.get(needed.axis, _ANY)
        for one in ranges
        if all(_lies_in(size, one.get(axis, _ANY)) for axis, size in needed.beside.items())
    )
    reached = needed.least - 1
    for least, most in spans:
        if least <= reached + 1:
            reached = max(reached, most)
    return reached >= needed.most


def _lies_in(size: int, span: tuple[int, int]) -> bool:
    return span[0] <= size <= span[1]
