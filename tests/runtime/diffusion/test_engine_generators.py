"""Generators of a folder of engines: which parts it serves, when they load, what is refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.model.diffusion.safety_folders import write_safety_checker
from tests.runtime.diffusion.diffusion_parts import make_parts, run_to_end, torch_engines
from vl2_ros.errors import CheckpointError, EngineError, InputError
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.parts import IMAGE_PARTS
from vl2_ros.runtime.diffusion.engine_generators import find_generators
from vl2_ros.runtime.files.engine_files import EngineFile, EngineFiles
from vl2_ros.structures import ImageOptions, Route

FEW = ImageOptions(seed=5, steps=2, scheduler="euler")
LATENTS = {"latent_h": 8, "latent_w": 8}
AXES = {"denoiser": LATENTS, "vae_decoder": LATENTS, "vae_encoder": {"height": 64, "width": 64}}


class Files:
    """A folder of engines of both parts that are computed by torch, and what was loaded of them."""

    def __init__(self, folder, *, checked=()):
        self.folders = {name: DiffusionFolder(folder / name) for name in IMAGE_PARTS}
        for one in self.folders.values():
            one.path.mkdir()
        for name in checked:
            write_safety_checker(self.folders[name].path)
        self.graphs = {}
        for name, part in IMAGE_PARTS.items():
            graphs = (*part.graphs, *(part.optional_graphs if name in checked else ()))
            for graph in graphs:
                path = folder / f"{name}.{graph}.onnx"
                path.write_bytes(b"0" * 100)
                one = EngineFile(f"{name}.{graph}", path, graph, "float32", AXES.get(graph, {}))
                self.graphs[one.name] = one
        self.loaded = []
        self._engines = {
            name: torch_engines(make_parts(part.routes[0])) for name, part in IMAGE_PARTS.items()
        }
        self.margin = -1.0

    def load(self, file):
        self.loaded.append(file.name)
        part, _, graph = file.name.partition(".")
        if graph != "safety_checker":
            return getattr(self._engines[part], graph)
        margins = np.array([[self.margin]], np.float32)
        outputs = {"concept_margins": margins, "special_margins": -np.abs(margins)}
        return SimpleNamespace(run=lambda inputs: outputs)

    def find(self, **options):
        model = SimpleNamespace(
            parts=tuple(IMAGE_PARTS),
            **{name: DiffusionConfig.tiny(part.image_kind) for name, part in IMAGE_PARTS.items()},
        )
        config = SimpleNamespace(model=model, folders=self.folders)
        files = EngineFiles(next(iter(self.folders.values())).path, "c", self.graphs)
        return find_generators(
            files, config, self.load, backend="onnxruntime", device="cpu", **options
        )


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


STATES = make_parts(Route.GENERATE).states


def test_engines_are_loaded_with_the_first_image(files):
    found = files.find()
    assert set(found.generators) == {Route.GENERATE, Route.EDIT} and not found.missing
    generator = found.generators[Route.GENERATE]
    assert (generator.info.graph, generator.info.backend) == ("denoiser", "onnxruntime")
    assert files.loaded == []
    image, _ = run_to_end(generator, STATES, FEW)
    assert image.rgb.shape == (64, 64, 3)
    wanted = [f"image_generation.{graph}" for graph in IMAGE_PARTS["image_generation"].graphs]
    assert files.loaded == wanted
    again, _ = run_to_end(generator, STATES, FEW)
    assert files.loaded == wanted and again.rgb.tobytes() == image.rgb.tobytes()


def test_the_size_is_that_of_the_engines(files):
    generator = files.find().generators[Route.GENERATE]
    with pytest.raises(InputError, match="built for images of 64x64"):
        run_to_end(generator, STATES, replace(FEW, size_hw=(128, 64)))


def test_parts_that_lack_an_engine_are_named_and_others_serve(files):
    del files.graphs["image_editing.vae_encoder"]
    found = files.find()
    assert list(found.generators) == [Route.GENERATE]
    assert found.missing == {"image_editing": ("image_editing.vae_encoder",)}
    assert files.find(without=["image_editing"]).missing == {}


def test_the_identity_is_that_of_all_files(files):
    first = files.find().generators[Route.GENERATE].info.identity
    name = "image_generation.vae_decoder"
    files.graphs[name] = replace(files.graphs[name], sha256="another")
    assert files.find().generators[Route.GENERATE].info.identity != first


def test_engines_of_several_sizes_are_refused(files):
    name = "image_editing.vae_encoder"
    files.graphs[name] = replace(files.graphs[name], axes={"height": 64, "width": 128})
    generator = files.find().generators[Route.EDIT]
    with pytest.raises(EngineError, match="images of several sizes.*one profile"):
        run_to_end(generator, STATES, FEW)


def test_a_mapper_without_the_empty_text_is_refused(files, monkeypatch):
    mapper = files._engines["image_generation"].prompt_mapper
    monkeypatch.setattr(mapper, "info", replace(mapper.info, outputs=("prompt_embeds",)))
    with pytest.raises(EngineError, match=r"does not give no_words.*again"):
        run_to_end(files.find().generators[Route.GENERATE], STATES, FEW)


def test_a_safety_checker_is_asked_about_every_image(tmp_path):
    files = Files(tmp_path, checked=["image_generation"])
    generator = files.find().generators[Route.GENERATE]
    run_to_end(generator, STATES, FEW)
    assert "image_generation.safety_checker" in files.loaded
    files.margin = 0.5
    with pytest.raises(InputError, match="safety checker of the checkpoint refuses"):
        run_to_end(files.find().generators[Route.GENERATE], STATES, FEW)


def test_a_checker_is_never_passed_over(tmp_path):
    files = Files(tmp_path, checked=["image_generation"])
    engine = files.graphs.pop("image_generation.safety_checker")
    assert files.find().missing == {"image_generation": ("image_generation.safety_checker",)}
    # The engine is there, but the checkpoint has lost what it was made from.
    files.graphs[engine.name] = engine
    files.folders["image_generation"] = files.folders["image_editing"]
    with pytest.raises(EngineError, match="in only one of the checkpoint and its engines"):
        run_to_end(files.find().generators[Route.GENERATE], STATES, FEW)
    (files.folders["image_editing"].path / "model_index.json").write_text(
        '{"safety_checker": ["library", "class"]}'
    )
    with pytest.raises(CheckpointError, match="is not there; copy that folder"):
        files.find()
