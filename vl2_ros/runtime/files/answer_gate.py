"""Compare the answers of a quantised language model with those of float32, before it is used.

Commands about simulated frames and the answers of float32 torch to them are stored beside the
exported graph. An engine answers them again: the routing tokens shall be the same, and the
detection decoder shall find the same boxes from its states.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vl2_ros.errors import EngineError
from vl2_ros.geometry import box_iou
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.processing.results.detection import Selection, select_instances
from vl2_ros.runtime.engine import Engine, PerceptionDecoder, to_numpy
from vl2_ros.runtime.files.engine_files import EngineFile, EngineFiles
from vl2_ros.runtime.language.graph_language import EmbeddingTables, load_embedding_tables
from vl2_ros.runtime.language.speaking import BatchSpeaker, Prompt, Spoken
from vl2_ros.structures import Detections, Route

#: Share of the commands whose routing tokens may differ.
MOST_OTHER_ROUTES = 0.005
#: What the mean IoU of boxes may lack to 1, and the share of them that may have no counterpart.
MOST_MOVED, MOST_LOST = 0.03, 0.03
#: Longest answer that is compared.
MOST_TOKENS = 48
#: Commands whose boxes are compared.
MOST_DETECTIONS = 300
#: Instances as they are published; below, what is found is chance.
_LEAST_SCORE = 0.3
_MOST_INSTANCES = 20
#: A counterpart overlaps at least so much, and scores at least such a share.
_COUNTERPART_IOU, _COUNTERPART_SCORE = 0.5, 0.5
_DETECTED = frozenset({Route.DETECT.value, Route.GROUND.value, Route.SEGMENT.value})


@dataclass(frozen=True, slots=True, eq=False)
class AnswerScript:
    """Commands, as the language model reads them, with float32's answers.

    Attributes:
        tokens: ids of the special tokens.
        prompts: each with the tokens of its frame.
        frames: index of each prompt's frame.
        answers: of float32 torch, cut after `MOST_TOKENS`.
        pixels: (F, 3, H, W) float16 input of the detection decoder; (0, ...) without one.
        pixel_masks: (F, H, W) bool, likewise.
    """

    tokens: TokenIds
    prompts: Sequence[Prompt]
    frames: Sequence[int]
    answers: Sequence[Spoken]
    pixels: np.ndarray
    pixel_masks: np.ndarray


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far answers are the same.

    Attributes:
        commands: that were compared.
        same_routes: of them, those whose routing tokens are the same in the same order.
        same_answers: those whose every token is.
        instances: that float32's states let the decoder find; 0 where there is no decoder.
        lost: of them, those without a counterpart.
        iou: mean overlap of the others with their counterparts; 1 where there are none.
    """

    commands: int
    same_routes: int
    same_answers: int
    instances: int
    lost: int
    iou: float


def script_path(onnx: Path) -> Path:
    """Return where the commands of an exported language model are."""
    return onnx.with_name(f"{onnx.stem}.answers.npz")


def write_script(path: Path, script: AnswerScript) -> None:
    """Store commands and answers."""
    features = {
        frame: prompt.image_tokens
        for frame, prompt in zip(script.frames, script.prompts, strict=True)
    }
    states = [state for answer in script.answers for state in answer.states]
    counts = [len(state) for state in states]
    arrays = {
        "tokens": np.array(json.dumps(_describe_tokens(script.tokens))),
        "frames": np.array(script.frames, np.int64),
        "image_tokens": np.stack([features[frame] for frame in sorted(features)]).astype("f2"),
        "known_frames": np.array(sorted(features), np.int64),
        "pixels": script.pixels,
        "pixel_masks": script.pixel_masks,
        "states": np.concatenate(states) if states else np.zeros((0, 0), np.float32),
        "state_counts": np.array(counts, np.int64),
        **_flatten("prompts", [one.ids for one in script.prompts]),
        **_flatten("answers", [np.array(one.ids, np.int64) for one in script.answers]),
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_script(path: Path) -> AnswerScript:
    """Read commands and answers.

    Raises:
        EngineError: if the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _read_arrays(arrays)
    # zipfile, json and numpy raise of their own for damaged archives.
    except Exception as error:
        raise EngineError(
            f"cannot read the stored answers {path}: {error}; export the engines again"
        ) from error


def _read_arrays(arrays: Mapping[str, np.ndarray]) -> AnswerScript:
    values = json.loads(str(arrays["tokens"]))
    routing = {int(key): name for key, name in values.pop("routing").items()}
    slots, ends = (tuple(values.pop(name)) for name in ("slots", "more_ends"))
    tokens = TokenIds(**values, routing=routing, slots=slots, more_ends=ends)
    known = dict(zip(arrays["known_frames"].tolist(), arrays["image_tokens"], strict=True))
    frames = arrays["frames"].tolist()
    prompts = [
        Prompt(ids, known[frame])
        for frame, ids in zip(frames, _unflatten("prompts", arrays), strict=True)
    ]
    ends_of_states = np.cumsum(arrays["state_counts"])
    states = iter(np.split(arrays["states"], ends_of_states[:-1]) if len(ends_of_states) else [])
    answers = []
    for ids in _unflatten("answers", arrays):
        routes = [token_id for token_id in ids.tolist() if token_id in routing]
        answers.append(Spoken(ids.tolist(), [next(states) for _ in routes]))
    return AnswerScript(tokens, prompts, frames, answers, arrays["pixels"], arrays["pixel_masks"])


def compare_answers(
    engine: Engine,
    source: EngineFile,
    files: EngineFiles,
    decoder: PerceptionDecoder | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Agreement:
    """Let an engine answer the stored commands of its graph.

    Args:
        engine: a language model.
        source: the exported file that it was built from.
        files: the folder of that file, which has the embeddings.
        decoder: detection decoder of the same checkpoint and sides of images; None: no boxes.
        progress: called with the number of commands that are answered, and of all.

    Raises:
        EngineError: if there are no stored answers, or a file of the folder cannot be read.
    """
    script = read_script(script_path(source.path))
    files.check_embeddings()
    tables = load_embedding_tables(files.embeddings, script.tokens, files.embeddings_tables)
    rows = source.axes.get("rows", 1)
    speaker = make_speaker(engine, tables, source, rows if isinstance(rows, int) else rows[2])
    spoken: dict[int, Spoken] = {}
    for index, answer in speaker.speak(script.prompts):
        spoken[index] = answer
        progress(len(spoken), len(script.prompts))
    given = [spoken[index] for index in range(len(script.prompts))]
    routes = [(_routes_of(a, script), _routes_of(b, script)) for a, b in _pairs(script, given)]
    boxes = _compare_boxes(script, given, decoder)
    return Agreement(
        len(given),
        sum(expected == got for expected, got in routes),
        sum(expected.ids == got.ids for expected, got in _pairs(script, given)),
        *boxes,
    )


def make_speaker(
    engine: Engine, tables: EmbeddingTables, source: EngineFile, rows: int
) -> BatchSpeaker:
    """Return what answers with an engine of an exported file."""
    layers, heads, width = (source.fixed_size(axis) for axis in ("layers", "heads", "head_width"))
    return BatchSpeaker(engine, tables, (layers, heads, width), rows, MOST_TOKENS)


def _pairs(script: AnswerScript, given: Sequence[Spoken]) -> list[tuple[Spoken, Spoken]]:
    return list(zip(script.answers, given, strict=True))


def _routes_of(answer: Spoken, script: AnswerScript) -> list[str]:
    routing = script.tokens.routing
    return [routing[token_id] for token_id in answer.ids if token_id in routing]


def _compare_boxes(
    script: AnswerScript, given: Sequence[Spoken], decoder: PerceptionDecoder | None
) -> tuple[int, int, float]:
    """Return instances, lost ones and the mean IoU of the others."""
    if decoder is None or not len(script.pixels):
        return 0, 0, 1.0
    count, overlaps = 0, []
    compared = 0
    for index, (expected, got) in enumerate(_pairs(script, given)):
        routes = _routes_of(expected, script)
        wanted = [i for i, route in enumerate(routes) if route in _DETECTED]
        if not wanted or routes != _routes_of(got, script):
            continue
        frame = script.frames[index]
        truth, found = (
            _detect(decoder, script, frame, [answer.states[i] for i in wanted], least)
            for answer, least in ((expected, _LEAST_SCORE), (got, 0.0))
        )
        count += len(truth)
        overlaps += match_instances(truth, found)
        compared += 1
        if compared == MOST_DETECTIONS:
            break
    return count, count - len(overlaps), float(np.mean(overlaps)) if overlaps else 1.0


def _detect(
    decoder: PerceptionDecoder,
    script: AnswerScript,
    frame: int,
    states: Sequence[np.ndarray],
    least_score: float,
) -> Selection:
    output = decoder.run(
        {
            "pixels": script.pixels[frame : frame + 1].astype(np.float32),
            "pixel_mask": script.pixel_masks[frame : frame + 1],
            "super_link": np.stack(states)[None].astype(np.float32),
            "class_mask": np.ones((1, len(states)), np.bool_),
        }
    )
    return select_instances(
        to_numpy(output["pred_logits"])[0].astype(np.float32),
        to_numpy(output["pred_boxes"])[0].astype(np.float32),
        num_classes=len(states),
        frame_hw=script.pixel_masks.shape[1:],
        top_k=_MOST_INSTANCES if least_score else 10 * _MOST_INSTANCES,
        score_threshold=least_score,
    )


def match_instances(truth: Selection | Detections, found: Selection | Detections) -> list[float]:
    """Return the IoU of each instance that has a counterpart, with it; class ids mean the same."""
    overlaps = []
    for index, class_id in enumerate(truth.class_ids):
        likely = found.scores >= _COUNTERPART_SCORE * truth.scores[index]
        near = found.boxes_xyxy[likely & (found.class_ids == class_id)]
        ious = box_iou(truth.boxes_xyxy[index : index + 1], near)
        best = float(ious.max(initial=0.0))
        if best >= _COUNTERPART_IOU:
            overlaps.append(best)
    return overlaps


def _describe_tokens(tokens: TokenIds) -> dict[str, object]:
    return asdict(tokens) | {"routing": {str(key): name for key, name in tokens.routing.items()}}


def _flatten(name: str, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: np.concatenate(rows).astype(np.int32),
        f"{name}_counts": np.array([len(row) for row in rows], np.int64),
    }


def _unflatten(name: str, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum(arrays[f"{name}_counts"])
    return np.split(arrays[name].astype(np.int64), ends[:-1])
