"""Readers of files with a small valid sample of each, for `fuzz_files` to damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from vl2_ros.console.terminal import read_sentences
from vl2_ros.datasets.tabletop import TabletopCache
from vl2_ros.documents import read_json_object, read_text
from vl2_ros.errors import ConfigError, TransportError
from vl2_ros.evaluation.coco.tool import CocoKind, score_coco
from vl2_ros.evaluation.phrasings import load_phrasings
from vl2_ros.export.engine_profile import load_profile
from vl2_ros.export.engine_store import EngineStore
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_processing
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.checkpoint.folder import describe_checkpoint, save_model
from vl2_ros.model.checkpoint.shards import find_weight_files, iterate_tensors
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.diffusion.caption_tokenizer import CaptionTokenizer
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.node.parameters import NodeParameters, ProcessParameters
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.runtime.files.engine_files import FILE_NAME, read_engine_files
from vl2_ros.runtime.files.parity_gate import Sample, read_sample, write_sample
from vl2_ros.runtime.files.weights_identity import HashCache
from vl2_ros.runtime.language.graph_language import load_embedding_tables
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans
from vl2_ros.transports.message_types import parse_definition

_ROOT = Path(__file__).resolve().parents[2]
_RELEASE = _ROOT / "tests" / "golden" / "release_tiny"
_TOKENS = TokenIds.from_base(64)


@dataclass(frozen=True, slots=True)
class FileReader:
    """One reader of files.

    Attributes:
        name: of what it reads.
        make: writes a valid sample into an empty folder.
        read: reads it; raises an error of the package where it is damaged.
        files: those of the sample that are damaged, as patterns.
        weight: how often it comes up; less for readers that build a network.
    """

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    files: tuple[str, ...]
    weight: float = 1.0


def _make_release(folder: Path) -> None:
    release = folder / "release"
    release.mkdir()
    for name in ("config.json", "added_tokens.json", "tokenizer_config.json", "tokenizer.model"):
        shutil.copyfile(_RELEASE / "safetensors" / name, release / name)
    shutil.copytree(_RELEASE / "checkpoints", folder / "checkpoints")


def _read_release(folder: Path) -> None:
    read_checkpoint_config(folder / "release")
    load_processing(folder / "release")


def _read_diffusion(folder: Path) -> None:
    found = DiffusionFolder(folder / "checkpoints" / "stable-diffusion-v1-5")
    found.read_components()
    found.read_unconditional_ids(77)
    _ = found.safety_checker


def _make_own_config(folder: Path) -> None:
    model = ModelConfig.tiny(with_pose=True, with_images=True)
    tokens = {"image_patch": 66, "region": 67, "eos": 2, "pad": 0, "slots": [82, 83, 84, 85]}
    tokens["routing"] = {token: index for index, token in _TOKENS.routing.items()}
    document = {"model_type": "vl2_ros", "model": model.to_dict(), "tokens": tokens}
    (folder / "config.json").write_text(json.dumps(document))


def _make_network(folder: Path) -> None:
    torch.manual_seed(0)
    save_model(VisionLLM(ModelConfig.tiny(with_pose=True), _TOKENS), folder)


def _make_shards(folder: Path, form: str) -> None:
    weight_map = {}
    for part in range(2):
        tensors = {f"part{part}.layer{i}": torch.full((3, 4), float(i)) for i in range(3)}
        stem, suffix = {"bin": ("pytorch_model", "bin")}.get(form, ("model", "safetensors"))
        file = f"{stem}-{part}.{suffix}"
        if form == "bin":
            torch.save(tensors, folder / file)
        else:
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            safetensors.numpy.save_file(arrays, folder / file)
        weight_map |= dict.fromkeys(tensors, file)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 288}, "weight_map": weight_map}))


def _read_shards(folder: Path) -> None:
    for _, tensor in iterate_tensors(find_weight_files(folder)):
        tensor.clone()


def _make_embeddings(folder: Path) -> None:
    tables = {name: np.zeros((4, 8), np.float16) for name in ("det", "pose", "gen", "edit")}
    tables["embed_tokens"] = np.zeros((100, 8), np.float16)
    safetensors.numpy.save_file(tables, folder / "embeddings.safetensors")


def _make_engines(folder: Path) -> None:
    shutil.copyfile(EMBEDDED_WEIGHTS / FILE_NAME, folder / FILE_NAME)


def _read_engines(folder: Path) -> None:
    files = read_engine_files(folder)
    files.check_checkpoint(files.checkpoint)
    for file in files.graphs.values():
        file.check_built("onnxruntime 1", "cpu")
        file.axes.get("layers")


def _make_store(folder: Path) -> None:
    entry = {"file": "x.plan", "sha256": "0" * 64, "axes": {"tiles": [1, 1, 5]}, "portable": False}
    recipe = {"graph": "vision_encoder", "onnx_sha256": "1" * 64, "runtime": "tensorrt 10"}
    recipe |= {"device": "gpu", "precision": "float16", "shapes": [{"tiles": [1, 1, 5]}]}
    document = {"engine": entry, "recipe": recipe | {"options": {"level": 3}}, "misses": []}
    document |= {"format": 1, "built_at": 1.5, "seconds": 2.5, "size": 10}
    (folder / "x.json").write_text(json.dumps(document))
    (folder / "y.json").write_text(json.dumps(document | {"built_at": 3}))
    _make_engines(folder)


def _read_store(folder: Path) -> None:
    store = EngineStore(folder)
    for stored in store.list_engines():
        store.find(stored.recipe)
    _ = store.checkpoint


def _make_coco(folder: Path) -> None:
    outline = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]
    people = [number for i in range(17) for number in (10.0 + i, 12.0 + i, 2)]
    row = {"image_id": 1, "category_id": 1, "bbox": [10.0, 10.0, 20.0, 20.0]}
    truth = {
        "images": [{"id": i, "height": 60, "width": 80, "file_name": f"{i}.jpg"} for i in (1, 2)],
        "categories": [{"id": 1, "name": "mug"}, {"id": 2, "name": "bowl"}],
        "annotations": [
            {"id": i, "area": 400.0, "iscrowd": 0, "segmentation": [outline]}
            | {"keypoints": people, "num_keypoints": 17, **row, "image_id": i}
            for i in (1, 2)
        ],
    }
    runs = {"size": [60, 80], "counts": _compress([60 * 10 + 10, *[20, 40] * 19, 20, 1870 + 1120])}
    found = {
        "bbox": [row | {"score": 0.5}, row | {"score": 0.4, "image_id": 2}],
        "segm": [{"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": runs}],
        "keypoints": [{"image_id": 1, "category_id": 1, "score": 0.5, "keypoints": people}],
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    for kind, rows in found.items():
        (folder / f"{kind}.json").write_text(json.dumps(rows))


def _compress(runs: list[int]) -> str:
    from pycocotools import mask

    runs[-1] += 60 * 80 - sum(runs)
    counts: bytes = mask.frPyObjects({"size": [60, 80], "counts": runs}, 60, 80)["counts"]
    return counts.decode()


def _read_coco(folder: Path, kind: CocoKind) -> None:
    score_coco(folder / "truth.json", folder / f"{kind.value}.json", kind)


def _make_parameters(folder: Path) -> None:
    for cls in (NodeParameters, ProcessParameters):
        values = {one.name: getattr(cls(), one.name) for one in fields(cls)}
        (folder / f"{cls.__name__}.json").write_text(json.dumps(values))


def _read_parameters(folder: Path) -> None:
    for cls in (NodeParameters, ProcessParameters):
        values = read_json_object(folder / f"{cls.__name__}.json", ConfigError)
        known = {one.name for one in fields(cls)} & set(values)
        cls(**{n: tuple(v) if isinstance(v := values[n], list) else v for n in known})


def _make_tabletop(folder: Path) -> None:
    settings = {"format": 1, "width": 4, "height": 3, "chunk_frames": 2, "first_seed": 0}
    (folder / "cache.json").write_text(json.dumps(settings))
    chunk = folder / "seeds_00000000_00000002"
    chunk.mkdir()
    mug = {"kind": "mug", "color": "red", "box_xyxy": [0, 0, 2, 2], "visible_pixels": 4}
    frames = [[mug | {"keypoints": {"rim": [1.0, 1.0, True]}}], []]
    (chunk / "objects.json").write_text(json.dumps({"first_seed": 0, "frames": frames}))
    np.save(chunk / "rgb.npy", np.zeros((2, 3, 4, 3), np.uint8))
    np.save(chunk / "instances.npy", np.zeros((2, 3, 4), np.uint8))


def _make_sample(folder: Path) -> None:
    spec = GRAPHS["vision_encoder"]
    values = {name: np.zeros((2, 3), np.float32) for name in spec.input_names}
    outputs = {name: np.zeros((2, 3), np.float32) for name in spec.output_names}
    write_sample(folder / "sample.npz", Sample(values, outputs))


def _copy(*paths: Path) -> Callable[[Path], None]:
    def copy(folder: Path) -> None:
        for path in paths:
            shutil.copyfile(path, folder / path.name)

    return copy


def _write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def _make_llama(folder: Path) -> None:
    names = ("tokenizer.model", "tokenizer_config.json", "added_tokens.json")
    _copy(*(_RELEASE / "safetensors" / name for name in names))(folder)


def _find_in_cache(folder: Path) -> None:
    HashCache(folder / "hashes.json").find(folder / "file")


def _make_cache(folder: Path) -> None:
    file = folder / "file"
    file.write_text("x")
    document = {"format": 1, "files": {str(file.resolve()): [[1, 2, 3, 4, 5], "0" * 64]}}
    (folder / "hashes.json").write_text(json.dumps(document))


def _read_definitions(folder: Path) -> None:
    for path in folder.glob("*.msg"):
        parse_definition(f"vl2_ros/msg/{path.stem}", read_text(path, TransportError))


_SD = "checkpoints/stable-diffusion-v1-5"

READERS: tuple[FileReader, ...] = (
    FileReader("release", _make_release, _read_release, ("release/*.json", f"{_SD}/*/*.json"), 4),
    FileReader("diffusion folder", _make_release, _read_diffusion, (f"{_SD}/**/*.json",)),
    FileReader("own config", _make_own_config, read_checkpoint_config, ("config.json",), 4),
    FileReader("network", _make_network, describe_checkpoint, ("*",), 0.3),
    FileReader("safetensors", lambda f: _make_shards(f, "safetensors"), _read_shards, ("*.*",), 2),
    FileReader("bin", lambda f: _make_shards(f, "bin"), _read_shards, ("*.*",), 2),
    FileReader(
        "tokenizer.json",
        _copy(EMBEDDED_WEIGHTS / "tokenizer.json"),
        load_tokenizer,
        ("tokenizer.json",),
        0.5,
    ),
    FileReader("tokenizer.model", _make_llama, load_tokenizer, ("*",), 2),
    FileReader(
        "captions",
        _make_release,
        lambda f: CaptionTokenizer(f / _SD / "tokenizer", 77),
        (f"{_SD}/tokenizer/*",),
        0.2,
    ),
    FileReader(
        "processing.json", lambda f: ProcessingConfig().save(f), ProcessingConfig.load, ("*",)
    ),
    FileReader("engines.json", _make_engines, _read_engines, ("engines.json",)),
    FileReader(
        "embeddings",
        _make_embeddings,
        lambda f: load_embedding_tables(f / "embeddings.safetensors", _TOKENS),
        ("*",),
    ),
    FileReader("engine store", _make_store, _read_store, ("*.json",)),
    FileReader(
        "profile",
        _copy(*(_ROOT / "engines" / f"{name}.yaml" for name in ("cpu", "orin"))),
        lambda f: [load_profile(path) for path in sorted(f.glob("*.yaml"))],
        ("*.yaml",),
        2,
    ),
    FileReader(
        "trusted plans",
        _write("trusted_plans", f"{'a' * 64}  built here\n{'b' * 64}\n"),
        lambda f: "c" * 64 in TrustedPlans(f / "trusted_plans"),
        ("*",),
        0.3,
    ),
    *(
        FileReader(
            f"coco {kind.value}",
            _make_coco,
            lambda f, kind=kind: _read_coco(f, kind),
            ("truth.json", f"{kind.value}.json"),
        )
        for kind in (CocoKind.BOXES, CocoKind.MASKS, CocoKind.KEYPOINTS)
    ),
    FileReader("parameters", _make_parameters, _read_parameters, ("*.json",)),
    FileReader(
        "definitions", _copy(*sorted((_ROOT / "msg").glob("*.msg"))[:3]), _read_definitions, ("*",)
    ),
    FileReader(
        "sentences",
        _write("commands.txt", "# some\nfind the red mug\nsegment every cube\n"),
        lambda f: read_sentences(f / "commands.txt"),
        ("*",),
        0.3,
    ),
    FileReader("hashes", _make_cache, _find_in_cache, ("hashes.json",), 0.5),
    FileReader(
        "phrasings",
        _copy(_ROOT / "vl2_ros" / "evaluation" / "phrasings.tsv"),
        lambda f: load_phrasings(f / "phrasings.tsv"),
        ("*",),
        0.3,
    ),
    FileReader("tabletop", _make_tabletop, lambda f: list(TabletopCache(f)), ("**/*.*",)),
    FileReader(
        "stored calls",
        _make_sample,
        lambda f: read_sample(f / "sample.npz", "vision_encoder"),
        ("*",),
        0.5,
    ),
)


def choose_readers(names: tuple[str, ...] = ()) -> tuple[FileReader, ...]:
    """Return the readers of these names, or all; those of a name have equal weight."""
    if not names:
        return READERS
    return tuple(replace(one, weight=1.0) for one in READERS if one.name in names)
