"""Images on a GPU: latents stay there, nothing waits for them, and the CPU sees the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.runtime.diffusion.diffusion_parts import make_frame, run_to_end
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
from vl2_ros.model.parts import IMAGE_PARTS
from vl2_ros.runtime.torch_backend.diffusion import make_torch_generator
from vl2_ros.structures import ImageOptions, Route

pytestmark = pytest.mark.gpu

ROUTES = {Route.GENERATE: "image_generation", Route.EDIT: "image_editing"}
STATES = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)


def make_network(route):
    torch.manual_seed(0)
    config = ModelConfig.tiny(with_detection=False, with_images=True)
    assert set(ROUTES.values()) == set(IMAGE_PARTS)
    network = ImageGeneratorNetwork(getattr(config, ROUTES[route])).eval()
    with torch.no_grad():
        network.vae.decoder.conv_out.weight.mul_(8)
    return network


@pytest.mark.parametrize("route", list(ROUTES))
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_a_gpu_draws_what_the_cpu_draws(route, cuda_graphs):
    options, frame = ImageOptions(seed=3, steps=6, scheduler="euler"), make_frame(64, 64)
    cuda = torch.device("cuda:0")
    on_cpu, _ = run_to_end(
        make_torch_generator(make_network(route), route, torch.device("cpu")),
        STATES,
        options,
        frame,
    )
    generator = make_torch_generator(
        make_network(route).to(cuda), route, cuda, cuda_graphs=cuda_graphs
    )
    on_gpu, _ = run_to_end(generator, STATES, options, frame)
    again, _ = run_to_end(generator, STATES, options, frame)
    difference = np.abs(on_gpu.rgb.astype(int) - on_cpu.rgb.astype(int))
    assert difference.mean() < 1 and difference.max() <= 8
    assert again.rgb.tobytes() == on_gpu.rgb.tobytes()


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler", "pndm"])
def test_the_host_does_not_wait_in_the_loop(scheduler):
    cuda = torch.device("cuda:0")
    network = make_network(Route.GENERATE).to(cuda, torch.bfloat16)
    generator = make_torch_generator(network, Route.GENERATE, cuda)
    options = ImageOptions(seed=3, steps=5, scheduler=scheduler)
    run = generator.generate(STATES, options)
    calls = next(run).steps
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(calls - 1):
            next(run)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    with pytest.raises(StopIteration):
        next(run)
