"""Measure the latency of every graph at the released size against a counted floor.

    python benchmarks/full_size.py [--device cuda] [--repeat 20] [--only detection_decoder ...]

A row is one graph at one shape: eager, replayed as a CUDA graph, the floor of the same arithmetic
and weight traffic, and how far eager is from it. The floor takes the matrix rate and the copy
bandwidth that this run measured on this device, not a datasheet's. Vision encoder, language model
and diffusion run in bfloat16 and the perception decoders in float32, as the torch backend does on
CUDA. Numbers compare within one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from vl2_ros.model.checkpoint.plan import find_places
from vl2_ros.model.checkpoint.weights import build_empty_model, fill_place, move_computed_buffers
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.graph_modules import build_graph
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.model.pose.config import PoseConfig

LLM_WIDTH, SLOTS, TILE_SIDE, TILE_TOKENS = 4096, 4, 336, 576
IMAGE_HW = (800, 1333)
SWIN_TINY = {
    "model_type": "swin",
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": 7,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}


@dataclass(frozen=True, slots=True)
class Case:
    """One graph at one shape."""

    graph: str
    shape: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    parts: tuple[nn.Module, ...]  # whose weights a call reads


@dataclass(frozen=True, slots=True)
class Row:
    """Measurements of a case; times in ms, None where it could not run."""

    graph: str
    shape: str
    dtype: str
    eager_ms: float
    graphed_ms: float | None
    floor_ms: float
    eager_over_floor: float
    eager_over_graphed: float | None
    gflop: float
    weights_mb: float
    note: str = ""


def released_config(only: list[str]) -> ModelConfig:
    """Return sizes of the released 7B model, with one layer where the LLM is not measured."""
    return ModelConfig(
        vision={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": TILE_SIDE,
            "patch_size": 14,
        },
        llm={
            "vocab_size": 32026,
            "hidden_size": LLM_WIDTH,
            "intermediate_size": 11008,
            "num_hidden_layers": 32 if "language_model" in only else 1,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "max_position_embeddings": 4096,
        },
        detection=DetectionConfig.from_release({"backbone_config": SWIN_TINY}, LLM_WIDTH, SLOTS),
        pose=PoseConfig.from_release({}, LLM_WIDTH, SLOTS),
    )


def build_network(device: str, only: list[str]) -> VisionLLM:
    """Make the released network with random weights, each part in the dtype that it runs in."""
    model = build_empty_model(released_config(only), TokenIds.from_base(32000))
    for name, place in find_places(model).items():
        if name == place.names[0]:
            is_decoder = name.startswith(("detection_decoder", "pose_decoder"))
            dtype = torch.float32 if is_decoder or device == "cpu" else torch.bfloat16
            value = torch.empty(place.shape, dtype=dtype, device=device).normal_(std=0.02)
            fill_place(model, place, value)
    move_computed_buffers(model, device)
    return model.eval()


def make_decoder_cases(
    model: VisionLLM, part: str, calls: Iterable[tuple[int, int]], device: str
) -> Iterator[Case]:
    """Yield the image branch of a perception decoder, and the rest for counts of its words."""
    height, width = IMAGE_HW
    backbone = build_graph(model, PERCEPTION_PARTS[part].backbone)
    pixels = torch.randn(1, 3, height, width, device=device)
    yield Case(part, f"{height}x{width}, image branch", backbone, (pixels,), (backbone,))
    module, maps = build_graph(model, part), backbone(pixels)
    for classes, keypoints in calls:
        shape = f"{height}x{width}, {classes} classes"
        shape += f", {keypoints} keypoints" if keypoints else ""
        inputs = (*maps, *make_decoder_inputs(device, classes, keypoints))
        yield Case(part, shape, module, inputs, (module,))


def make_decoder_inputs(device: str, classes: int, keypoints: int) -> tuple[Tensor, ...]:
    """Return inputs of a perception decoder behind the maps, in the order of its graph."""

    def link(count: int) -> tuple[Tensor, Tensor]:
        states = torch.randn(1, count, SLOTS, LLM_WIDTH, device=device)
        return states, torch.ones(1, count, dtype=torch.bool, device=device)

    mask = torch.ones(1, *IMAGE_HW, dtype=torch.bool, device=device)
    named = link(keypoints) if keypoints else ()
    return (mask, *link(classes), *named)


def make_cases(model: VisionLLM, device: str, only: list[str]) -> Iterator[Case]:
    """Yield every graph at the shapes that matter, its weights shared with the model."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    config = model.config.llm
    heads = config["num_key_value_heads"]
    cache_shape = (config["num_hidden_layers"], 1, heads, -1, LLM_WIDTH // heads)

    def cache(past: int) -> Tensor:
        shape = [past if size < 0 else size for size in cache_shape]
        return torch.randn(shape, device=device, dtype=dtype)

    if "vision_encoder" in only:
        module = build_graph(model, "vision_encoder")
        parts = (model.vision_encoder, model.projector)
        for tiles in (1, 5):
            pixels = torch.randn(tiles, 3, TILE_SIDE, TILE_SIDE, device=device, dtype=dtype)
            yield Case("vision_encoder", f"{tiles} tiles of {TILE_SIDE}", module, (pixels,), parts)
    if "language_model" in only:
        module = build_graph(model, "language_model")
        for tokens, past in (
            (TILE_TOKENS + 64, 0),
            (5 * TILE_TOKENS + 64, 0),
            (1, 3000),
            (5, 3000),
        ):
            embeds = torch.randn(1, tokens, LLM_WIDTH, device=device, dtype=dtype) * 0.02
            inputs = (embeds, cache(past), cache(past))
            yield Case("language_model", f"{tokens} tokens after {past}", module, inputs, (module,))
    decoders = {"detection_decoder": ((1, 0), (20, 0), (80, 0)), "pose_decoder": ((1, 17),)}
    for part, calls in decoders.items():
        if part in only:
            yield from make_decoder_cases(model, part, calls, device)


def make_diffusion_cases(device: str) -> Iterator[Case]:
    """Yield the denoiser and autoencoder of Stable Diffusion 1.5 at 512x512."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=768, attention_head_dim=8
        ).to(dtype)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        ).to(dtype)
        latents = torch.randn(2, 4, 64, 64, dtype=dtype)
        step = (latents, torch.tensor([500.0]), torch.randn(2, 77, 768, dtype=dtype))
    yield Case("denoiser", "2 images of 512x512", _Denoiser(unet.eval()), step, (unet,))
    yield Case("vae_decoder", "512x512", _VaeDecoder(vae.eval()), (latents[:1],), (vae.decoder,))


class _Denoiser(nn.Module):
    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> Tensor:
        return self.unet(latents, timestep, prompt_embeds, return_dict=False)[0]


class _VaeDecoder(nn.Module):
    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        return self.vae.decode(latents, return_dict=False)[0]


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device != "cpu":
        torch.cuda.synchronize()


def median_ms(action: Callable[[], object], repeat: int, device: str) -> float:
    """Return the median wall time of `action` with the device idle before and after it."""
    for _ in range(3 if device != "cpu" else 1):
        action()
    times = []
    for _ in range(repeat):
        synchronize(device)
        began = time.perf_counter()
        action()
        synchronize(device)
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def measure_device(device: str) -> dict[torch.dtype | str, float]:
    """Measure what the device gives: FLOP/s of each dtype's matrix product, bytes/s of a copy."""
    side = 8192 if device != "cpu" else 1024
    rates: dict[torch.dtype | str, float] = {}
    for dtype in (torch.bfloat16, torch.float32):
        left = torch.randn(side, side, device=device, dtype=dtype)
        spent_ms = median_ms(lambda left=left: left @ left, 10, device)
        rates[dtype] = 2 * side**3 / spent_ms * 1e3
    block = torch.empty(side * side * 8, device=device)
    target = torch.empty_like(block)
    spent_ms = median_ms(lambda: target.copy_(block), 10, device)
    rates["bytes"] = 2 * block.nbytes / spent_ms * 1e3
    return rates


def capture(case: Case) -> Callable[[], object]:
    """Record a case as a CUDA graph and return a function that replays it.

    Raises:
        RuntimeError: if it does something that a graph cannot record.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            case.module(*case.inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        case.module(*case.inputs)
    return graph.replay


def measure(case: Case, rates: dict[torch.dtype | str, float], repeat: int, device: str) -> Row:
    """Time one case and count its floor."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        case.module(*case.inputs)
    flop = counter.get_total_flops()
    weights = [weight for part in case.parts for weight in part.parameters()]
    moved = sum(one.nbytes for one in (*weights, *case.inputs))
    dtype = weights[0].dtype
    floor_ms = max(flop / rates[dtype], moved / rates["bytes"]) * 1e3
    eager_ms = median_ms(lambda: case.module(*case.inputs), repeat, device)
    graphed_ms, note = None, ""
    if device != "cpu":
        try:
            graphed_ms = median_ms(capture(case), repeat, device)
        except Exception as error:  # a benchmark continues and prints what it could not record
            note = f"not recorded: {str(error).splitlines()[0][:300]}"
            torch.cuda.synchronize()
    return Row(
        graph=case.graph,
        shape=case.shape,
        dtype=str(dtype).removeprefix("torch."),
        eager_ms=round(eager_ms, 3),
        graphed_ms=None if graphed_ms is None else round(graphed_ms, 3),
        floor_ms=round(floor_ms, 3),
        eager_over_floor=round(eager_ms / floor_ms, 2),
        eager_over_graphed=None if graphed_ms is None else round(eager_ms / graphed_ms, 2),
        gflop=round(flop / 1e9, 1),
        weights_mb=round(sum(one.nbytes for one in weights) / 1e6, 1),
        note=note,
    )


@torch.inference_mode()
def main() -> None:
    """Measure every case and print one JSON line for each."""
    graphs = ("vision_encoder", "language_model", "detection_decoder", "pose_decoder", "diffusion")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--only", nargs="+", choices=graphs, default=list(graphs))
    options = parser.parse_args()
    device = options.device
    rates = measure_device(device)
    name = torch.cuda.get_device_name() if device != "cpu" else "cpu"
    print(
        json.dumps(
            {"device": name, "torch": torch.__version__}
            | {
                f"{str(kind).removeprefix('torch.')}_per_s": f"{rate:.3g}"
                for kind, rate in rates.items()
            }
        ),
        flush=True,
    )
    model = build_network(device, options.only) if set(options.only) - {"diffusion"} else None
    cases = [] if model is None else [make_cases(model, device, options.only)]
    if "diffusion" in options.only:
        cases.append(make_diffusion_cases(device))
    for group in cases:
        for case in group:
            print(json.dumps(asdict(measure(case, rates, options.repeat, device))), flush=True)


if __name__ == "__main__":
    main()
