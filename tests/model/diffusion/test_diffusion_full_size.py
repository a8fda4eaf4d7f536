"""Image generation and editing of full size, without weights, against the published counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model.checkpoint.release_tables import ReleaseSizes, mapper_keys, release_config
from tests.model.diffusion.diffusion_sizes import full_size
from vl2_ros.model.checkpoint.release_keys import rename_key
from vl2_ros.model.checkpoint.weights import build_empty_part
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.parts import IMAGE_PARTS

#: First names of the released tensors.
TOPS = {"image_generation": "sd", "image_editing": "ip2p"}
#: Parts -> (parameters, tensors, name before the library's own).
NETWORKS = {
    "text_encoder": (123_060_480, 196, "sd_text_encoder.text_model."),
    "vae": (83_653_863, 248, "sd_vae."),
}
DENOISERS = {"image_generation": (859_520_964, 4), "image_editing": (859_532_484, 8)}


@pytest.fixture(scope="module", params=IMAGE_PARTS)
def built(request):
    config = ModelConfig.from_release(release_config(ReleaseSizes()))
    config = replace(config, **{request.param: full_size(IMAGE_PARTS[request.param].image_kind)})
    return request.param, build_empty_part(config, request.param)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_networks_have_the_published_parameter_counts(built):
    part, network = built
    assert count(network.prompt_mapper) == 20_338_944
    for name, (parameters, tensors, _) in NETWORKS.items():
        module = network.get_submodule(name)
        assert (count(module), len(module.state_dict())) == (parameters, tensors), name
    parameters, channels = DENOISERS[part]
    assert count(network.denoiser) == parameters
    assert len(network.denoiser.state_dict()) == 686
    assert network.denoiser.conv_in.weight.shape == (320, channels, 3, 3)


def test_every_released_tensor_has_its_place_and_every_place_a_tensor(built):
    part, network = built
    top = TOPS[part]
    shapes = dict(mapper_keys(top))
    prefixes = {name: prefix for name, (_, _, prefix) in NETWORKS.items()} | {
        "denoiser": "sd_unet."
    }
    for name, prefix in prefixes.items():
        state = network.get_submodule(name).state_dict()
        shapes |= {f"{top}.{prefix}{key}": tuple(value.shape) for key, value in state.items()}
    ours = {f"{part}.{name}": tuple(value.shape) for name, value in network.state_dict().items()}
    found = {}
    for name, shape in shapes.items():
        (target,) = rename_key(name) or ()
        assert target.blocks == 1, name
        found[target.name] = shape
    assert found == ours
    assert len(found) == 39 + 196 + 248 + 686


def test_nothing_big_is_allocated(built):
    _, network = built
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert not any(buffer.is_meta for buffer in network.buffers())


def test_attention_of_the_autoencoder_has_the_names_of_the_spec(built):
    _, network = built
    names = {name for name in network.vae.state_dict() if "attentions" in name}
    kinds = {name.split(".attentions.0.")[1].rsplit(".", 1)[0] for name in names}
    assert kinds == {"group_norm", "to_q", "to_k", "to_v", "to_out.0"}


def test_sizes_of_images_follow_from_the_configuration(built):
    part, network = built
    assert network.config.default_side == 512
    assert network.config.pixels_per_latent == 8
    assert network.config.scaling_factor == 0.18215
    assert network.config.drop_rate == {"image_generation": 0.1, "image_editing": 0.05}[part]
