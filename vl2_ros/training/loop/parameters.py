"""Choose what is trained, at which rate, and which gradients are limited together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.parts import PARTS
from vl2_ros.training.recipes.recipe import Rates, Recipe

#: Where the objective keeps the network; patterns name parameters from there on.
NETWORK = "network."
#: Names of the parameters of adapters.
ADAPTERS = ("*.lora_A.*", "*.lora_B.*")


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name, or what it begins with up to a dot, is like one of some patterns."""
    return any(fnmatchcase(name, one) or fnmatchcase(name, f"{one}.*") for one in patterns)


def shorten_name(name: str) -> str:
    """Return the name of an objective's parameter as patterns have it."""
    return name.removeprefix(NETWORK)


def choose_trained(objective: nn.Module, recipe: Recipe) -> list[str]:
    """Let gradients into what a recipe trains and into nothing else.

    Parameters of the objective outside its network are always trained, and so are adapters; a
    matrix that has an adapter is not. A parameter of several names, such as tied tables of words,
    is trained if one of them is, and frozen if one of them is.

    Returns:
        The trained names, in the objective's order.

    Raises:
        ConfigError: if a pattern fits nothing, or nothing is trained.
    """
    names_of: dict[int, list[str]] = {}
    for name, parameter in objective.named_parameters(remove_duplicate=False):
        names_of.setdefault(id(parameter), []).append(name)
    names = [shorten_name(name) for several in names_of.values() for name in several]
    for key, patterns in (("trained", recipe.trained), ("frozen", recipe.frozen)):
        check_patterns(key, patterns, names)
    check_patterns("multipliers", [pattern for pattern, _ in recipe.rates.factors()], names)
    trained = []
    for name, parameter in objective.named_parameters():
        parameter.requires_grad_(_is_trained(names_of[id(parameter)], recipe))
        if parameter.requires_grad:
            trained.append(name)
    if not trained:
        raise ConfigError(
            f"nothing is trained: trained is {list(recipe.trained)}, frozen {list(recipe.frozen)}"
        )
    return trained


def check_patterns(key: str, patterns: Iterable[str], names: Sequence[str]) -> None:
    """Check that every pattern fits a name, unless it is about a part that the network lacks.

    Raises:
        ConfigError: with what the names begin with.
    """
    present = dict.fromkeys(name.partition(".")[0] for name in names)
    for pattern in patterns:
        first = pattern.partition(".")[0]
        is_absent = first != "*" and any(
            fnmatchcase(part, first) and part not in present for part in PARTS
        )
        if not is_absent and not any(fits(name, (pattern,)) for name in names):
            raise ConfigError(
                f"{key} names {pattern!r}, which fits nothing here; names begin with "
                f"{', '.join(present)}"
            )


def _is_trained(names: Sequence[str], recipe: Recipe) -> bool:
    """Return whether the parameter of some names is trained."""
    short = [shorten_name(name) for name in names]
    if short[0] == names[0] or fits(short[0], ADAPTERS):
        return True
    if ".base_layer." in short[0]:
        return False
    return any(fits(one, recipe.trained) for one in short) and not any(
        fits(one, recipe.frozen) for one in short
    )


def set_modes(objective: nn.Module) -> None:
    """Put what is trained in training mode and the rest in evaluation mode.

    A frozen part must not draw dropout, nor count batches for the norms of its own.
    """
    objective.train()
    for module in objective.modules():
        parameters = list(module.parameters())
        if parameters and not any(one.requires_grad for one in parameters):
            module.eval()


def group_parameters(objective: nn.Module, rates: Rates) -> list[dict[str, Any]]:
    """Split what is trained by rate, and by whether it decays.

    Weight decay is for matrices, not for biases, norms and tables of queries and tokens.

    Returns:
        Groups for the optimiser, each with `peak`, its highest learning rate.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if not parameter.requires_grad:
            continue
        short = shorten_name(name)
        table = "query" in short or "embed_tokens" in short or short.startswith("super_link")
        # What the objective adds for itself is thrown away, so it may be as large as it gets.
        plain = parameter.ndim < 2 or table or short == name
        key = (_factor(short, rates), 0.0 if plain else rates.weight_decay)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": decay,
            "lr": rates.learning_rate * factor,
            "peak": rates.learning_rate * factor,
        }
        for (factor, decay), parameters in groups.items()
    ]


def _factor(name: str, rates: Rates) -> float:
    found = [factor for pattern, factor in rates.factors() if fits(name, (pattern,))]
    return found[-1] if found else 1.0


def group_norms(objective: nn.Module, rates: Rates) -> dict[str, list[nn.Parameter]]:
    """Return what is trained by what its gradient norm is limited with."""
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            alone = [one for one in rates.clip_alone if fits(shorten_name(name), (one,))]
            groups.setdefault(alone[0] if alone else "rest", []).append(parameter)
    if len(groups) == 1:
        return {"": next(iter(groups.values()))}
    return groups
