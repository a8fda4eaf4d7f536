"""Profiles: the shipped ones, and what is said about others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vl2_ros.errors import ConfigError
from vl2_ros.export.build_engines import open_shapes
from vl2_ros.export.engine_profile import (
    changing_axes,
    find_profile,
    list_shipped_profiles,
    load_profile,
    read_profile,
)
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.model.parts import PERCEPTION_GRAPHS
from vl2_ros.runtime.files.engine_files import read_engine_files

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = sorted((REPOSITORY / "engines").glob("*.yaml"), key=lambda path: path.stem)
SMALL = {"backend": "onnxruntime", "graphs": {"denoiser": {"shapes": [{"images": [1, 2, 3]}]}}}


def test_a_profile_of_each_kind_of_machine_is_shipped_and_found_by_name():
    assert [path.stem for path in SHIPPED] == ["cpu", "cpu-int8", "discrete", "orin", "rtx"]
    assert {name: path.resolve() for name, path in list_shipped_profiles().items()} == {
        path.stem: path for path in SHIPPED
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_profile_loads(path):
    profile = load_profile(find_profile(path.stem))
    assert profile.name == path.stem
    assert (profile.backend == "onnxruntime") == path.stem.startswith("cpu")
    assert set(profile.graphs) <= set(GRAPHS)
    for graph in ("vision_encoder", "language_model", *PERCEPTION_GRAPHS):
        assert set(profile.graphs[graph].axes) == set(changing_axes(graph))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_prompts_and_steps_of_any_length_fit_a_shipped_profile(path):
    shapes = load_profile(path).graphs["language_model"].shapes
    # The last one is the rest of a prompt behind a start that is kept.
    for tokens, past in ((1, 0), (900, 0), (1, 1), (8, 900), (300, 900)):
        assert any(
            one["tokens"][0] <= tokens <= one["tokens"][2]
            and one["past"][0] <= past <= one["past"][2]
            for one in shapes
        ), (tokens, past)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_axes_that_an_exported_file_leaves_open_are_added_with_those_of_its_maps(path):
    profile, files = load_profile(path), read_engine_files(EMBEDDED_WEIGHTS)
    for graph in ("detection_backbone", "detection_decoder"):
        source = files.require(graph)
        (shapes,) = open_shapes(profile.graphs[graph], source).shapes
        assert shapes["height"] == source.axes["height"]
        assert shapes["rows"] == profile.graphs[graph].shapes[0]["rows"]
        assert ("map_h.0" in shapes) == (graph == "detection_decoder")


def test_axes_cover_all_ranges_of_a_graph():
    graphs = {
        "language_model": {
            "shapes": [
                {"rows": 1, "tokens": [1, 64, 512], "past": 0},
                {"rows": [1, 2, 4], "tokens": 1, "past": [1, 100, 900]},
            ]
        }
    }
    profile = read_profile("x", SMALL | {"graphs": graphs}).graphs["language_model"]
    assert profile.axes == {"rows": (1, 1, 4), "tokens": (1, 64, 512), "past": (0, 0, 900)}
    assert profile.precision == "float32"


def test_scratch_memory_is_at_most_half_of_the_budget():
    assert read_profile("x", SMALL | {"workspace_mb": 512}).workspace_bytes == 512 << 20
    bound = SMALL | {"workspace_mb": 512, "memory_budget_mb": 600}
    assert read_profile("x", bound).workspace_bytes == 300 << 20


def with_graph(name: str, entry: object) -> dict[str, object]:
    return SMALL | {"graphs": {name: entry}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "expected keys such as backend"),
        ({"backend": "onnxruntime"}, "missing: graphs"),
        (SMALL | {"speed": 3}, "expected the keys backend, .*; unknown: speed"),
        (SMALL | {"backend": "openvino"}, "backend must be onnxruntime or tensorrt"),
        (SMALL | {"backend": "tensorrt"}, "tensorrt needs device cuda, got cpu"),
        (SMALL | {"device": "gpu"}, "device must be cpu, cuda or cuda:1"),
        (SMALL | {"graphs": {}}, "at least one graph"),
        (SMALL | {"graphs": ["denoiser"]}, "graphs must have a key for each graph"),
        (SMALL | {"workspace_mb": 1}, "workspace_mb must be at least 16"),
        (SMALL | {"workspace_mb": "big"}, "workspace_mb must be int, got 'big'"),
        (SMALL | {"optimization_level": 6}, "0 to 5, got 6"),
        (SMALL | {"optimization_level": True}, "optimization_level must be int, got True"),
        (SMALL | {"decoder_hw": [640]}, r"decoder_hw must be \[height, width\], got \[640\]"),
        (SMALL | {"decoder_hw": [8, 640]}, "32 to 4096 pixels"),
        (SMALL | {"generated_hw": [512, 500]}, "multiples of 8"),
        (SMALL | {"trusted": "abc"}, "trusted must be a list"),
        (SMALL | {"trusted": ["abc"]}, "64 lower-case hex digits"),
        (with_graph("oven", None), "expected vision_encoder, .*got 'oven'"),
        (
            {
                **SMALL,
                "graphs": {
                    "pose_backbone": {"shapes": [{"rows": 1}], "precision": "float16"},
                    "pose_decoder": {
                        "shapes": [{"rows": 1, "classes": 1, "keypoints": 1}],
                        "precision": "float32",
                    },
                },
            },
            "pose_backbone and pose_decoder must have one precision.* got float16 and float32",
        ),
        (
            with_graph("pose_backbone", {"shapes": [{"rows": 1}]}),
            "pose_backbone and pose_decoder, which only work together.*pose_backbone alone",
        ),
        *(
            (
                {
                    **SMALL,
                    "graphs": {
                        "pose_backbone": {"shapes": [{"rows": 1}]},
                        "pose_decoder": {
                            "shapes": [{"rows": 1, "classes": 1, "keypoints": 1, axis: 64}],
                        },
                    },
                },
                f"pose_decoder: images have the sizes of decoder_hw.* without {axis}",
            )
            for axis in ("height", "map_w", "map_h.0")
        ),
        (with_graph("denoiser", [3]), "denoiser: expected the keys precision and shapes"),
        (with_graph("denoiser", {"speed": 3}), "denoiser: expected the keys.*unknown: speed"),
        (with_graph("denoiser", None), "denoiser: shapes must give sizes of images, got none"),
        (with_graph("denoiser", {"shapes": []}), "at least one entry"),
        (with_graph("denoiser", {"shapes": None}), "must give sizes of images, got none"),
        (with_graph("denoiser", {"shapes": {}}), "shapes must be a list"),
        (with_graph("denoiser", {"shapes": [{"images": [3, 2, 1]}]}), "in rising order"),
        (with_graph("denoiser", {"shapes": [{"images": [0, 1, 1]}]}), "in rising order"),
        (with_graph("denoiser", {"shapes": [{"images": "two"}]}), "a number or .least, best"),
        (with_graph("denoiser", {"shapes": [{"images": 2, "tiles": 1}]}), "sizes of images"),
        (
            with_graph("denoiser", {"precision": "int3", "shapes": [{"images": 2}]}),
            "precision must be float32 or float16, got 'int3'",
        ),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused_with_what_was_expected(
    tmp_path, document, message
):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=message) as caught:
        load_profile(path)
    assert str(path) in str(caught.value)


def test_what_is_no_yaml_or_no_profile_is_reported(tmp_path):
    (tmp_path / "x.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"cannot read the profile .*x\.yaml"):
        load_profile(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match="no profile 'toaster'.*cpu, cpu-int8, discrete, orin"):
        find_profile("toaster")


def test_yaml_cannot_make_python_objects(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("backend: !!python/object/apply:os.system [echo]\ngraphs: {}\n")
    with pytest.raises(ConfigError, match="cannot read the profile"):
        load_profile(path)
