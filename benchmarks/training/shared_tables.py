"""Train with one query table for detection and poses, and with one for each, on the simulator.

    python benchmarks/training/shared_tables.py [--steps 240] [--frames 600] [--out runs]

The paper gives every decoder a query table of its own. Here the tiny network, from fresh weights,
learns boxes and keypoints of simulated scenes, end to end through the LLM: three seeds, with
separate tables and with a shared one, everything else equal. Held-out losses are those that the
runs log. It prints the last ones and writes `shared_tables.png`; finished runs are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vl2_ros.datasets.tabletop import TabletopCache, TabletopRecord, render_cache
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.pose.extension import extend_with_poses
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.sim.kinds import KINDS
from vl2_ros.training.companions import copy_companions, find_init
from vl2_ros.training.conversations.objective import ConversationObjective
from vl2_ros.training.conversations.opening import open_mixtures
from vl2_ros.training.embedded.config import embedded_detection_config
from vl2_ros.training.loop.log import read_log
from vl2_ros.training.objectives import Opening
from vl2_ros.training.recipes.reading import read_recipe
from vl2_ros.training.recipes.recipe import Recipe
from vl2_ros.training.run import train

SEEDS = (0, 1, 2)
FORMS = ("separate", "shared")
#: Losses that are drawn: of the decoder that a table serves.
LOSSES = ("detection", "pose")
HELD_OUT = 1_000_000
SIDES = {"decoder_short": 96, "decoder_long": 128, "segment_short": 96, "segment_long": 128}


def write_coco(records: Iterable[TabletopRecord], folder: Path) -> Path:
    """Write scenes as a COCO file with boxes and keypoints, and their images beside it."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names: dict[str, list[str]] = {kind: [] for kind in KINDS}
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for record in records:
        height, width = record.rgb.shape[:2]
        name = f"{record.seed:08d}.png"
        Image.fromarray(record.rgb).save(folder / "images" / name)
        images.append({"id": record.seed, "file_name": name, "height": height, "width": width})
        for one in record.objects:
            names[one.kind] = list(one.keypoints)
            x1, y1, x2, y2 = one.box_xyxy
            points = [
                (x, y, 2) if seen and 0 <= x < width and 0 <= y < height else (0, 0, 0)
                for x, y, seen in one.keypoints.values()
            ]
            rows.append(
                {
                    "id": len(rows),
                    "image_id": record.seed,
                    "category_id": KINDS.index(one.kind),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": one.visible_pixels,
                    "keypoints": np.array(points, float).ravel().tolist(),
                }
            )
    categories = [
        {"id": number, "name": kind} | ({"keypoints": names[kind]} if names[kind] else {})
        for number, kind in enumerate(KINDS)
    ]
    for row in rows:
        if not names[KINDS[row["category_id"]]]:
            del row["keypoints"]
    path = folder / "scenes.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return path


def write_data(out: Path, frames: int) -> dict[str, Path]:
    """Render scenes; return the COCO files to train on and to measure on."""
    found = {}
    for part, first, count in (("train", 0, frames), ("held_out", HELD_OUT, 64)):
        folder = out / part
        if not (folder / "scenes.json").is_file():
            render_cache(out / f"{part}_cache", range(first, first + count), processes=1)
            cache = TabletopCache(out / f"{part}_cache")
            write_coco((cache[index] for index in range(count)), folder)
        found[part] = folder / "scenes.json"
    return found


def make_network(folder: Path, *, shared: bool, seed: int) -> VisionLLM:
    """Make the tiny network with both perception decoders; all else is equal for a seed."""
    tokenizer = load_tokenizer(folder)
    torch.manual_seed(seed)
    tiny = ModelConfig.tiny()
    llm = {**tiny.llm, "vocab_size": tokenizer.vocab_size, "max_position_embeddings": 512}
    backbone = {**embedded_detection_config().backbone_config, "hidden_sizes": [24, 48, 64, 96]}
    detection: DetectionConfig = replace(
        embedded_detection_config(),
        backbone_config={**backbone, "embedding_size": 16, "depths": [1, 1, 1, 1]},
        l_hidden_size=llm["hidden_size"],
        num_embs=tiny.num_embs,
        d_model=64,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        num_queries=30,
    )
    network = extend_with_poses(
        VisionLLM(
            replace(tiny, llm=llm, table_init_std=0.02, detection=detection), tokenizer.tokens
        )
    )
    if shared:
        network.super_link.pose = network.super_link.det
    return network


def make_recipe(data: dict[str, Path], steps: int, seed: int) -> Recipe:
    """Return what both forms are trained by."""
    kinds = ("coco_instances", "coco_keypoints")
    sources = tuple(
        {"kind": kind, "annotations": str(path), "max_classes": 6, "held_out": part == "held_out"}
        for part, path in data.items()
        for kind in kinds
    )
    recipe = read_recipe("finetune", ["init=embedded", f"steps={steps}", "epochs=0"])
    return replace(
        recipe,
        sources=sources,
        trained=("*",),
        frozen=(),
        batch=4,
        seed=seed,
        workers=0,
        precision="float32",
        average_decay=0.0,
        log_every=20,
        lora=replace(recipe.lora, rank=0),
        rates=replace(
            recipe.rates,
            learning_rate=1e-3,
            multipliers=(),
            warmup=0.05,
            flat=0.5,
            beta2=0.98,
            clip_alone=("detection_decoder", "pose_decoder"),
        ),
        evaluation=replace(recipe.evaluation, every=max(1, steps // 6), batches=10, best_by="loss"),
    )


def open_objective(recipe: Recipe, opening: Opening, *, shared: bool) -> ConversationObjective:
    """Open the sources and a fresh network, as `open_conversations` does with a checkpoint."""
    copy_companions(find_init(recipe.init), opening.folder)
    network = make_network(opening.folder, shared=shared, seed=recipe.seed)
    processing = replace(
        ProcessingConfig.load(opening.folder),
        vision_side=56,
        vision_tokens=16,
        num_embs=network.config.num_embs,
        num_embs_gen=network.config.num_embs_gen,
        **SIDES,
    )
    processing.save(opening.folder)
    mixture, held_out = open_mixtures(recipe)
    return ConversationObjective(
        network,
        load_tokenizer(opening.folder),
        processing,
        mixture,
        held_out,
        recipe.options,
        batch_size=recipe.batch,
        batches_per_step=opening.batches_per_step,
    )


def read_curves(out: Path) -> dict[str, dict[str, list[list[tuple[int, float]]]]]:
    """Return, for each loss and form, the held-out curve of each seed."""
    return {
        loss: {
            form: [
                [
                    (int(row["step"]), row[f"held_out/{loss}"])
                    for row in read_log(out / f"{form}_{seed}")
                    if f"held_out/{loss}" in row
                ]
                for seed in SEEDS
            ]
            for form in FORMS
        }
        for loss in LOSSES
    }


def draw(out: Path) -> None:
    """Draw the curves of all runs, a panel for each decoder."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (loss, forms) in enumerate(read_curves(out).items()):
        axes = figure.add_subplot(
            1, len(LOSSES), index + 1, title=f"{loss}: held-out loss", xlabel="step"
        )
        for form, color in zip(FORMS, ("tab:blue", "tab:orange"), strict=True):
            for seed, curve in enumerate(forms[form]):
                label = f"{form} tables" if form == "separate" else "one shared table"
                axes.plot(*zip(*curve, strict=True), color=color, label="" if seed else label)
        axes.legend()
    figure.savefig(out / "shared_tables.png", dpi=90)


def main() -> None:
    """Run what is missing, then print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--frames", type=int, default=600, help="scenes to train on")
    parser.add_argument("--out", type=Path, default=Path("training_runs/shared_tables"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = write_data(options.out, options.frames)
    for seed in SEEDS:
        for form in FORMS:

            def opened(recipe: Recipe, opening: Opening, form: str = form) -> ConversationObjective:
                return open_objective(recipe, opening, shared=form == "shared")

            recipe = make_recipe(data, options.steps, seed)
            folder = options.out / f"{form}_{seed}"
            train(recipe, folder, device="cpu", show=print, open_objective=opened)
    for loss, forms in read_curves(options.out).items():
        for form, curves in forms.items():
            last = [curve[-1][1] for curve in curves]
            spread = ", ".join(f"{one:.3f}" for one in last)
            print(f"{loss}, {form}: {statistics.mean(last):.3f} ({spread})")
    draw(options.out)


if __name__ == "__main__":
    main()
