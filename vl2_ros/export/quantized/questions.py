"""Draw the commands that a quantised language model is judged by, and let float32 answer them.

Frames are simulated and commands are those of training (`datasets`), from seeds of their own.
Others, with the answers of training, give the activations that int4 rounding is made for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vl2_ros.datasets.commands import sample_perception, sample_text
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.export.full_size.mapped_network import MappedNetwork
from vl2_ros.flow.prompt_features import prepare_prompt
from vl2_ros.loading import load_processing
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import ROUTE_PARTS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_decoder
from vl2_ros.processing.language.command_prompt import write_prompt
from vl2_ros.processing.language.prompt_length import most_image_tiles
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.runtime.engine import to_numpy
from vl2_ros.runtime.files.answer_gate import AnswerScript, make_speaker
from vl2_ros.runtime.files.engine_files import EngineFiles
from vl2_ros.runtime.language.graph_language import load_embedding_tables
from vl2_ros.runtime.language.speaking import Prompt, Spoken
from vl2_ros.runtime.torch_backend.engine import TorchEngine
from vl2_ros.structures import Command, Frame, Route

#: Commands that answers are compared for, where float32 can answer them in minutes.
COMMANDS, LEAST_COMMANDS = 1000, 8
#: Multiply-adds that float32 may take for all prompts: a minute or two on two cores.
_MOST_WORK = 5e12
_FRAMES = 20
#: Values of a language model that float32 may have in memory at once: 2 GB.
_MOST_VALUES = 500_000_000
#: Of scenes that no training and no evaluation uses.
_FIRST_SEED = 3_000_000
#: Share of the commands that are answered in words alone.
_IN_WORDS = 0.2
_ROWS = 8
_FRAME_WIDTH, _FRAME_HEIGHT = 640, 480


#: Largest language model whose activations are measured; their products have the square of a width.
_MOST_MEASURED = 100_000_000
#: Commands whose activations are measured, and the first of their scenes.
_MEASURED, _MEASURED_SEED = 160, 3_100_000


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The drawn commands: frames, and for each command its frame and its ids."""

    frames: list[Frame]
    pixels: list[np.ndarray]
    questions: list[tuple[int, np.ndarray]]


def make_script(
    network: MappedNetwork,
    weights: Path,
    files: EngineFiles,
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> AnswerScript:
    """Draw commands and let a network answer them.

    Args:
        network: with its vision encoder and language model.
        weights: its checkpoint folder.
        files: the exported graphs; the sides of the decoder's images are theirs.
        progress: called with what is done, and its share, 0 to 1.

    Raises:
        ConfigError: if the simulator is not installed.
    """
    model, source = network.model, files.require("language_model")
    tokenizer, processing = load_tokenizer(weights), load_processing(weights)
    is_small = _count_values(model) <= _MOST_VALUES
    if not is_small:
        # Simulated frames show little, and each tile of each command costs float32 minutes.
        processing = replace(processing, max_tiles=1)
    count = _count_commands(model, processing)
    what = f"answering {count} commands in float32"
    progress(what, 0.0)
    asked = _draw_commands(count, _FIRST_SEED, _routes_of(model), tokenizer, processing)
    tokens = _encode(network, asked.pixels)
    prompts = [Prompt(ids, tokens[frame]) for frame, ids in asked.questions]
    tables = load_embedding_tables(files.embeddings, tokenizer.tokens, files.embeddings_tables)
    module = build_graph(model, "language_model")
    engine = TorchEngine(spec_of(model, "language_model"), module, torch.device("cpu"))
    # A large one is read layer by layer in every call.
    use = network.filled(module, torch.float32) if is_small else network.streamed(torch.float32)
    with use:
        spoken = {}
        for index, answer in make_speaker(engine, tables, source, _ROWS).speak(prompts):
            spoken[index] = answer
            progress(what, len(spoken) / count)
    answers: Sequence[Spoken] = [spoken[index] for index in range(len(prompts))]
    frames = [frame for frame, _ in asked.questions]
    decoder_input = _decoder_images(asked.frames, files, processing)
    return AnswerScript(tokenizer.tokens, prompts, frames, answers, *decoder_input)


def _count_commands(model: VisionLLM, processing: ProcessingConfig) -> int:
    """Return how many commands a network can answer in the work that is allowed."""
    prompt = processing.vision_tokens * most_image_tiles(processing) + 100
    work = _count_values(model) * prompt
    return int(np.clip(_MOST_WORK / work, LEAST_COMMANDS, COMMANDS))


def _routes_of(model: VisionLLM) -> tuple[Route, ...]:
    parts = model.config.parts
    perceived = [route for route, part in ROUTE_PARTS.items() if part.name in parts]
    return (Route.ANSWER, *perceived)


def measure_activations(network: MappedNetwork, weights: Path) -> list[np.ndarray]:
    """Return what the matrices of a language model are multiplied by, for commands with answers.

    Args:
        network: with its vision encoder and language model.
        weights: its checkpoint folder.

    Returns:
        (K, K) float32 mean products of activations, for each matrix in the order of use, without
        the head; none for a language model that is too large.

    Raises:
        ConfigError: if the simulator is not installed.
    """
    model = network.model
    if _count_values(model) > _MOST_MEASURED:
        return []
    tokenizer, processing = load_tokenizer(weights), load_processing(weights)
    routes = _routes_of(model)
    asked = _draw_commands(
        _MEASURED, _MEASURED_SEED, routes, tokenizer, processing, with_answers=True
    )
    features = _encode(network, asked.pixels)
    meter = _Meter()
    layers = model.llm.model.layers
    with network.filled(model, torch.float32), torch.inference_mode(), ExitStack() as stack:
        for part in layers.modules():
            if isinstance(part, torch.nn.Linear):
                stack.callback(part.register_forward_pre_hook(meter.add).remove)
        for frame, ids in asked.questions:
            tokens = torch.from_numpy(features[frame].astype(np.float32))
            embeds = model.embed(torch.from_numpy(ids)[None], tokens)
            model.llm.model(inputs_embeds=embeds)
    return [meter.moments[part] / meter.counts[part] for part in meter.moments]


class _Meter:
    """Adds up the products of activations before each matrix, in the order of first use."""

    def __init__(self) -> None:
        self.moments: dict[torch.nn.Module, np.ndarray] = {}
        self.counts: dict[torch.nn.Module, int] = {}

    def add(self, part: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Count what a matrix is multiplied by."""
        rows = inputs[0].reshape(-1, inputs[0].shape[-1])
        products = (rows.T @ rows).numpy()
        self.moments[part] = self.moments.get(part, np.float32(0)) + products
        self.counts[part] = self.counts.get(part, 0) + len(rows)


def _draw_commands(
    count: int,
    first_seed: int,
    routes: tuple[Route, ...],
    tokenizer: Tokenizer,
    processing: ProcessingConfig,
    *,
    with_answers: bool = False,
) -> _Asked:
    try:
        from vl2_ros.sim.tabletop import TabletopSimulator
    except ImportError as error:
        raise ConfigError(
            f"a quantised language model is judged by simulated frames, and {error.name} is "
            "missing; pip install 'vl2_ros[sim]', or give language_model another precision"
        ) from error
    asked, rng = _Asked([], [], []), np.random.default_rng(first_seed)
    with TabletopSimulator(width=_FRAME_WIDTH, height=_FRAME_HEIGHT) as simulator:
        views = [simulator.render(first_seed + index) for index in range(_FRAMES)]
    asked.frames.extend(Frame(view.rgb) for view in views)
    while len(asked.questions) < count:
        index = len(asked.questions) % _FRAMES
        sample = sample_text if rng.random() < _IN_WORDS else sample_perception
        example = sample(rng, views[index].objects)
        command = Command(example.question)
        try:
            prompt = write_prompt(asked.frames[index], command, processing, routes)
        # Words of speech may point, at what only visual prompts have.
        except InputError:
            continue
        if with_answers:
            prompt = replace(prompt, format=replace(prompt.format, answer=example.answer))
        inputs = prepare_prompt(prompt, tokenizer, processing)
        if len(asked.pixels) <= index:
            asked.pixels.append(inputs.pixels)
        asked.questions.append((index, inputs.ids))
    return asked


def _count_values(model: VisionLLM) -> int:
    return sum(one.numel() for one in model.llm.parameters())


def _encode(network: MappedNetwork, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the image tokens (M, C) of each frame's tiles, as they are stored: float16."""
    model = network.model
    module = build_graph(model, "vision_encoder")
    engine = TorchEngine(spec_of(model, "vision_encoder"), module, torch.device("cpu"))
    with network.filled(module, torch.float32):
        encoded = [to_numpy(engine.run({"pixels": one})["image_tokens"]) for one in frames]
    return [one.reshape(-1, one.shape[-1]).astype(np.float16) for one in encoded]


def _decoder_images(
    frames: Sequence[Frame], files: EngineFiles, processing: ProcessingConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and masks for the exported detection decoder; none where there is none."""
    file = files.graphs.get("detection_decoder")
    if file is None:
        return np.zeros((0, 3, 1, 1), np.float16), np.zeros((0, 1, 1), np.bool_)
    from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

    canvases = OnnxEngine(file).info.canvases
    made = [preprocess_decoder(frame, processing, canvases) for frame in frames]
    pixels = np.stack([one[0] for one in made]).astype(np.float16)
    return pixels, np.stack([one[1] for one in made])
