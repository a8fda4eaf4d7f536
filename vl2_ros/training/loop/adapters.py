"""Low-rank adapters on linear layers: put in for training, merged into what is saved."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vl2_ros.errors import ConfigError
from vl2_ros.training.loop.parameters import check_patterns, fits
from vl2_ros.training.recipes.recipe import Lora

_ADAPTER = "default"
_BASE, _DOWN, _UP = ".base_layer.", f".lora_A.{_ADAPTER}.weight", f".lora_B.{_ADAPTER}.weight"


def add_adapters(network: nn.Module, lora: Lora) -> None:
    """Put adapters into linear layers; nothing where the rank is 0.

    Raises:
        ConfigError: if a pattern fits no linear layer.
    """
    if not lora.rank:
        return
    from peft import LoraConfig, inject_adapter_in_model

    linear = [name for name, one in network.named_modules() if type(one) is nn.Linear]
    check_patterns("lora.modules", lora.modules, linear)
    chosen = [name for name in linear if fits(name, lora.modules)]
    if not chosen:
        raise ConfigError("lora.modules fits no linear layer")
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=chosen,
    )
    inject_adapter_in_model(config, network, adapter_name=_ADAPTER)


def merge_adapters(state: Mapping[str, Tensor], lora: Lora) -> dict[str, Tensor]:
    """Return the weights of a network without adapters that computes the same.

    Args:
        state: whole tensors of a network, by name.
        lora: of the adapters in it.
    """
    merged = {}
    for name, value in state.items():
        if name.endswith((_DOWN, _UP)):
            continue
        path, base, leaf = name.rpartition(_BASE)
        if base and leaf == "weight":
            change = state[path + _UP].float() @ state[path + _DOWN].float()
            value = (value.float() + lora.alpha / lora.rank * change).to(value.dtype)
        merged[f"{path}.{leaf}" if base else name] = value
    return merged
