"""The modules behind the graphs of image generation and editing, against the graph table."""

from __future__ import annotations

import pytest
import torch

from vl2_ros.errors import ConfigError
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
from vl2_ros.model.diffusion.graphs import build_diffusion_graph, size_diffusion_axes
from vl2_ros.model.graphs import GRAPHS, with_no_words
from vl2_ros.model.parts import IMAGE_PARTS


@pytest.fixture(scope="module", params=["generation", "editing"])
def network(request):
    torch.manual_seed(0)
    return ImageGeneratorNetwork(DiffusionConfig.tiny(request.param)).eval()


def axis_sizes(network, images=3):
    config = network.config
    return {
        "image_slots": config.num_slots,
        "llm_width": config.llm_width,
        "text_width": config.text_width,
        "images": images,
        "latent_width": config.denoiser["in_channels"],
        **{"latent_h": 8, "latent_w": 16, "height": 64, "width": 128},
    }


def make_inputs(spec, sizes):
    torch.manual_seed(1)
    return [
        torch.randn([axis if isinstance(axis, int) else sizes[axis] for axis in tensor.axes])
        for tensor in spec.inputs
    ]


def find_spec(name):
    return with_no_words(GRAPHS[name]) if name == "prompt_mapper" else GRAPHS[name]


@torch.inference_mode()
@pytest.mark.parametrize("name", IMAGE_PARTS["image_editing"].graphs)
def test_inputs_and_outputs_are_those_of_the_table(network, name):
    spec, sizes = find_spec(name), axis_sizes(network)
    inputs = make_inputs(spec, sizes)
    assert all(tensor.dtype == torch.float32 for tensor in inputs)
    outputs = build_diffusion_graph(name, network)(*inputs)
    assert isinstance(outputs, tuple)
    assert [list(output.shape) for output in outputs] == [
        [axis if isinstance(axis, int) else sizes[axis] for axis in tensor.axes]
        for tensor in spec.outputs
    ]


@torch.inference_mode()
def test_graphs_compute_what_the_network_does(network):
    sizes = axis_sizes(network)
    inputs = {
        name: make_inputs(GRAPHS[name], sizes) for name in IMAGE_PARTS["image_editing"].graphs
    }
    outputs = {
        name: build_diffusion_graph(name, network)(*given)[0] for name, given in inputs.items()
    }
    assert torch.equal(outputs["prompt_mapper"], network.map_prompt(*inputs["prompt_mapper"]))
    _, no_words = build_diffusion_graph("prompt_mapper", network)(*inputs["prompt_mapper"])
    assert torch.equal(no_words, network.encode_empty())
    assert torch.equal(outputs["vae_encoder"], network.encode_pixels(*inputs["vae_encoder"]))
    assert torch.equal(outputs["vae_decoder"], network.vae.decode(*inputs["vae_decoder"]).sample)
    assert torch.equal(outputs["denoiser"], network.denoise(*inputs["denoiser"]))


@torch.inference_mode()
def test_a_float_timestep_counts_for_every_image_as_the_whole_number(network):
    latents, _, prompt_embeds = make_inputs(GRAPHS["denoiser"], axis_sizes(network))
    graph = build_diffusion_graph("denoiser", network)
    (found,) = graph(latents, torch.tensor([667.0]), prompt_embeds)
    assert torch.equal(found, network.denoise(latents, torch.tensor([667] * 3), prompt_embeds))
    (other,) = graph(latents, torch.tensor([334.0]), prompt_embeds)
    assert not torch.equal(found, other)


def test_a_graph_holds_the_weights_that_it_runs_on_and_no_others(network):
    counts = {
        name: sum(weight.numel() for weight in build_diffusion_graph(name, network).parameters())
        for name in IMAGE_PARTS["image_editing"].graphs
    }
    assert counts["prompt_mapper"] == sum(w.numel() for w in network.prompt_mapper.parameters())
    assert counts["denoiser"] == sum(w.numel() for w in network.denoiser.parameters())
    assert counts["vae_encoder"] == counts["vae_decoder"]


def test_generation_needs_no_encoder_of_images():
    assert "vae_encoder" not in IMAGE_PARTS["image_generation"].graphs
    assert set(IMAGE_PARTS["image_editing"].graphs) < set(GRAPHS)


def test_a_network_without_a_folder_has_no_safety_checker(network):
    with pytest.raises(ConfigError, match="no safety checker"):
        build_diffusion_graph("safety_checker", network)


def test_sizes_of_images_are_whole_latents(network):
    block = network.config.pixels_per_latent
    sizes = size_diffusion_axes(network, (block * 4, block * 6))
    assert (sizes["latent_h"], sizes["latent_w"]) == (4, 6)
    own = size_diffusion_axes(network)
    assert own["height"] == own["width"] == network.config.default_side
    with pytest.raises(ConfigError, match=rf"multiples of {block} .* got {block + 1}x{block}"):
        size_diffusion_axes(network, (block + 1, block))


def test_another_graph_is_refused(network):
    with pytest.raises(ConfigError, match=r"expected one of .* got 'language_model'"):
        build_diffusion_graph("language_model", network)
