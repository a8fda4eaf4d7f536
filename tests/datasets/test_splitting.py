"""No image is trained on and held out, whatever records and sources have it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.small_sets import add_expressions, make_coco, outline, write_json, write_sets
from vl2_ros.datasets.sources.source_table import open_source
from vl2_ros.datasets.splitting import split_sources
from vl2_ros.errors import ConfigError

COUNT = 30


def open_all(folder: Path) -> list:
    """Open six kinds over the same images; the lists name them from another folder."""
    document = add_expressions(make_coco(folder, COUNT))
    names = [f"images/scene{number}.png" for number in range(COUNT)]
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "."}]
    # Two conversations on each image.
    chat = [{"image": name, "conversations": turns} for name in names * 2]
    regions = [one | {"regions": [{"segmentation": outline([3, 3, 9, 9])}]} for one in chat]
    files = {
        "coco_instances": document,
        "referring": document,
        "in_context": document,
        "interactive": document,
        "chat": chat,
        "region_chat": regions,
    }
    return [
        open_source(
            {
                "kind": kind,
                "annotations": str(write_json(folder / f"{kind}.json", one)),
                "images": str(folder if one in (chat, regions) else folder / "images"),
            },
            Path(),
        )
        for kind, one in files.items()
    ]


def show(source) -> set[bytes]:
    """Return the images that samples of a source show."""
    return {
        frame.rgb.tobytes()
        for number in range(len(source))
        for seed in range(2)
        for frame in source.sample(number, np.random.default_rng(seed)).images
    }


def test_no_image_is_on_both_sides_of_any_source(tmp_path):
    sources = open_all(tmp_path)
    parts = split_sources(sources, 0.2, seed=1)
    # Of in-context samples, those that are measured may have examples that were trained on.
    held_out = set().union(*(show(away) for _, away in parts if "in_context" not in away.name))
    for source, (kept, away) in zip(sources, parts, strict=True):
        assert not show(kept) & held_out, source.name
        assert len(kept) and len(away) and len(kept) + len(away) <= len(source)
        assert {away.sample(0, np.random.default_rng(0)).images[-1].rgb.tobytes()} <= held_out
    first = len(parts[0][1])
    assert first == round(0.2 * COUNT)
    again, other = (
        [away.image_keys(number) for number in range(first)]
        for away in (split_sources(open_all(tmp_path)[:1], 0.2, seed=seed)[0][1] for seed in (1, 2))
    )
    assert again == [parts[0][1].image_keys(number) for number in range(first)] != other


def test_a_broken_record_is_replaced_on_its_own_side(tmp_path):
    source = open_all(tmp_path)[0]
    ((kept, away),) = split_sources([source], 0.5)
    held_out = {away.image_keys(number) for number in range(len(away))}
    for number in range(0, len(kept), 2):
        (tmp_path / "images" / kept.image_keys(number)[0]).unlink()
    for number in range(len(kept)):
        assert (kept.sample(number, np.random.default_rng(0)).key,) not in held_out


def test_records_with_images_of_both_sides_are_not_used(tmp_path, caplog):
    edits = open_source({"kind": "edits"} | write_sets(tmp_path)["edits"], Path())
    ((kept, away),) = split_sources([edits], 0.2)
    sides = [
        {name for one in range(len(part)) for name in part.image_keys(one)} for part in (kept, away)
    ]
    assert not sides[0] & sides[1] and len(kept) + len(away) < len(edits)
    assert "are not used" in caplog.text


@pytest.mark.parametrize(("share", "count"), [(0.0, 5), (1.0, 5), (0.5, 1)])
def test_a_side_without_images_is_an_error(tmp_path, share, count):
    path = write_json(tmp_path / "index.json", make_coco(tmp_path, count))
    source = open_source({"kind": "coco_instances", "annotations": str(path)}, Path())
    with pytest.raises(ConfigError, match="expected a share"):
        split_sources([source], share)


def test_records_without_images_have_keys_of_their_own(tmp_path):
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "."}]
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(json.dumps({"id": n, "conversations": turns}) + "\n" for n in range(9)))
    source = open_source({"kind": "chat", "annotations": str(path)}, Path())
    ((kept, away),) = split_sources([source], 0.3)
    assert (len(kept), len(away)) == (6, 3)
