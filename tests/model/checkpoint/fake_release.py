"""Checkpoint folders of the released form with random weights, as large as a test wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.model.checkpoint.release_tables import ReleaseSizes, release_config, release_keys
from vl2_ros.model.checkpoint.release_keys import rename_key
from vl2_ros.model.language.tokens import ADDED_TOKENS

SMALL = ReleaseSizes(
    vision=64,
    vision_mlp=96,
    vision_layers=3,
    image=56,
    llm=128,
    llm_mlp=160,
    llm_layers=2,
    vocabulary=66,
    embs_gen=6,
    swin=8,
    swin_depths=(1, 1, 2, 1),
    swin_heads=(1, 2, 4, 8),
    width=32,
    ffn=64,
    queries=20,
    layers=2,
    box_layers=1,
    heads=4,
    points=2,
    mask=16,
    extra={
        "sd.emb_proj.0.weight": (6, 128),
        "ip2p.sd_unet.conv_in.weight": (4, 8, 3, 3),
        "llm.model.layers.0.self_attn.rotary_emb.inv_freq": (64,),
        "vis_encoder.vision_model.embeddings.position_ids": (1, 17),
    },
)

#: The full-size model, a thirtieth as wide; about 90 million parameters.
SCALED_DOWN = replace(
    SMALL,
    vision=128,
    vision_mlp=512,
    vision_layers=24,
    llm=512,
    llm_mlp=1376,
    llm_layers=24,
    vocabulary=4026,
    embs_gen=64,
    swin=24,
    swin_depths=(2, 2, 6, 2),
    swin_heads=(3, 6, 12, 24),
    width=64,
    ffn=512,
    queries=900,
    layers=6,
    box_layers=2,
    heads=8,
    points=4,
    mask=64,
    extra={},
)

FORMS = ("safetensors", "bin")
SUFFIX = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}


def make_weights(sizes: ReleaseSizes, dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """Random values under the released names; shared tensors are equal under all theirs."""
    generator = torch.Generator().manual_seed(0)
    shared: dict[str, Tensor] = {}
    weights = {}
    for name, shape in release_keys(sizes).items():
        if name.endswith(("relative_position_index", "position_ids")):
            weights[name] = torch.zeros(shape, dtype=torch.int64)
            continue
        value = torch.empty(shape, dtype=dtype).normal_(std=0.02, generator=generator)
        targets = rename_key(name)
        weights[name] = shared.setdefault(targets[0].name, value) if targets else value
    return weights


def write_companions(folder: Path, sizes: ReleaseSizes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(release_config(sizes)))
    base = sizes.vocabulary - len(ADDED_TOKENS)
    ids = {token: base + index for index, token in enumerate(ADDED_TOKENS)}
    (folder / "added_tokens.json").write_text(json.dumps(ids))


def write_release(
    folder: Path,
    weights: Mapping[str, Tensor],
    *,
    sizes: ReleaseSizes = SMALL,
    form: str = "safetensors",
    shards: int = 3,
    every_alias: bool = True,
) -> Path:
    """Write a release; with one shard there is no index.

    Args:
        folder: made if missing.
        weights: from `make_weights`.
        sizes: of the config.
        form: "safetensors" or "bin".
        shards: number of weight files.
        every_alias: False keeps the first name of each shared tensor only.
    """
    write_companions(folder, sizes)
    seen: set[int] = set()
    kept = {}
    for name, tensor in weights.items():
        if every_alias or id(tensor) not in seen:
            # safetensors refuses tensors that share memory.
            kept[name] = tensor.clone() if form == "safetensors" else tensor
        seen.add(id(tensor))
    stem, suffix = SUFFIX[form].rsplit(".", 1)
    names = list(kept)
    weight_map = {}
    for index in range(shards):
        part = names[index * len(names) // shards : (index + 1) * len(names) // shards]
        file = f"{stem}-{index + 1:05d}-of-{shards:05d}.{suffix}" if shards > 1 else SUFFIX[form]
        tensors = {name: kept[name] for name in part}
        if form == "bin":
            torch.save(tensors, folder / file)
        else:
            save_file(tensors, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    if shards > 1:
        index_file = folder / f"{SUFFIX[form]}.index.json"
        index_file.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_shard(folder, form, name, value):
    """Store another value under `name`, or drop it when `value` is None; return the shard."""
    weight_map = json.loads((folder / f"{SUFFIX[form]}.index.json").read_text())["weight_map"]
    path = folder / weight_map[name]
    tensors = torch.load(path) if form == "bin" else load_file(path)
    tensors.pop(name)
    if value is not None:
        tensors[name] = value
    torch.save(tensors, path) if form == "bin" else save_file(tensors, path)
    return path
