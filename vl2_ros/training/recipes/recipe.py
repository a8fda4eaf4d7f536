"""The recipe of a training run: everything that its result depends on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vl2_ros.documents import check_list, check_object, check_text, shorten
from vl2_ros.errors import ConfigError
from vl2_ros.parameter_table import ParameterNote, parameter
from vl2_ros.training.recipes.sections import check_section, section

#: `auto` is bfloat16 on a GPU that has it, and on a CPU where timing says that it is faster.
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
SAVED_DTYPES = ("float16", "bfloat16", "float32")
_MOST_STEPS = 1e9


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast which parameters learn."""

    learning_rate: float = parameter(1e-4, "Peak of AdamW's learning rate", least=0.0, most=10.0)
    multipliers: tuple[str, ...] = parameter(
        (),
        "Factors on the learning rate of some parameters, each written PATTERN=FACTOR; the last "
        "one that fits counts",
    )
    warmup: float = parameter(0.03, "Share of the steps that rise from 0", least=0.0, most=1.0)
    flat: float = parameter(0.0, "Share of the steps before the cosine begins", least=0.0, most=1.0)
    final: float = parameter(
        0.0, "Learning rate at the end as a share of the peak", least=0.0, most=1.0
    )
    weight_decay: float = parameter(
        0.0, "Weight decay, on matrices only: not on biases, norms and tables", least=0.0, most=1.0
    )
    beta1: float = parameter(0.9, "Decay of the mean gradient", least=0.0, most=0.9999)
    beta2: float = parameter(0.999, "Decay of the mean squared gradient", least=0.0, most=0.99999)
    clip_norm: float = parameter(1.0, "Largest norm of the gradient", least=1e-6, most=1e9)
    clip_alone: tuple[str, ...] = parameter(
        (), "Patterns of parameters whose norm is limited apart from that of the others"
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)
        if self.learning_rate == 0.0:
            raise ConfigError("learning_rate must be above 0, got 0")
        self.factors()

    def factors(self) -> tuple[tuple[str, float], ...]:
        """Return the patterns of `multipliers` with their factors.

        Raises:
            ConfigError: if one is not written PATTERN=FACTOR.
        """
        return tuple(map(_read_factor, self.multipliers))


def _read_factor(text: str) -> tuple[str, float]:
    pattern, _, number = text.rpartition("=")
    try:
        factor = float(number)
    except ValueError:
        factor = math.nan
    if not pattern or not 0.0 <= factor < math.inf:
        raise ConfigError(
            f"multipliers must be written PATTERN=FACTOR, such as llm=0.1, got {shorten(text)}"
        )
    return pattern, factor


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters that are trained in place of whole matrices."""

    rank: int = parameter(0, "Rank of the adapters; 0: none", least=0, most=4096)
    alpha: float = parameter(16.0, "Scale of the adapters, over the rank", least=0.0, most=1e6)
    dropout: float = parameter(0.0, "Dropout before the adapters", least=0.0, most=0.9)
    modules: tuple[str, ...] = parameter(
        ("llm.model.layers.*_proj",), "Patterns of the linear layers that get adapters"
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)
        if self.rank and not self.modules:
            raise ConfigError("modules must name the layers that get adapters, got none")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is measured during the run."""

    every: int = parameter(
        500, "Steps between two evaluations; 0: only at the end", least=0, most=_MOST_STEPS
    )
    batches: int = parameter(
        16, "Held-out batches whose losses are averaged; 0: none", least=0, most=1_000_000
    )
    best_by: str = parameter(
        "loss", "What the best checkpoint is best by: loss, held out, or the name of a score"
    )

    def __post_init__(self) -> None:
        """Check the values."""
        check_section(self)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe of a training run; patterns may hold * and fit a name or what it begins with.

    Attributes:
        sources: data, as `{kind: ..., weight: ..., ...}` each; the objective knows the kinds.
        options: frozen dataclass of settings that belong to the objective.
    """

    objective: str = parameter("", "What is optimised", metavar="NAME")
    init: str = parameter(
        "",
        "Checkpoint folder that the weights come from; embedded: that of the package; empty: fresh "
        "weights",
    )
    steps: int = parameter(0, "Steps of the run; 0: `epochs` counts", least=0, most=_MOST_STEPS)
    epochs: float = parameter(0.0, "Rounds through the data, if not `steps`", least=0.0, most=1e6)
    batch: int = parameter(4, "Samples of a batch, on each process", least=1, most=1_000_000)
    accumulation: int = parameter(1, "Batches of a step, on each process", least=1, most=1_000_000)
    seed: int = parameter(0, "Seed of fresh weights, order, wording and noise", least=0, most=2**31)
    trained: tuple[str, ...] = parameter(("*",), "Patterns of the parameters that are trained")
    frozen: tuple[str, ...] = parameter((), "Patterns of parameters that are not, among those")
    precision: str = parameter(
        "auto",
        "Precision of the arithmetic, weights stay float32; auto: bfloat16 where it is fast",
        choices=PRECISIONS,
    )
    gradient_checkpointing: bool = parameter(
        False, "Compute states of the LLM again in the backward pass: slower, with less memory"
    )
    average_decay: float = parameter(
        0.0,
        "Decay per step of the averaged weights, which are evaluated and saved; 0: no averaging",
        least=0.0,
        most=0.999999,
    )
    saved_dtype: str = parameter("float16", "Type of the saved weights", choices=SAVED_DTYPES)
    max_length: int = parameter(
        0, "Most tokens of a row; 0: the model's limit", least=0, most=1_000_000
    )
    workers: int = parameter(
        1, "Processes that make the batches of each training process; 0: none", least=0, most=256
    )
    log_every: int = parameter(20, "Steps between two rows of the log", least=1, most=1_000_000)
    rates: Rates = section(Rates, "Learning rates.")
    lora: Lora = section(Lora, "Adapters.")
    evaluation: Evaluation = section(Evaluation, "Measuring.")
    sources: tuple[Mapping[str, Any], ...] = field(
        default=(),
        metadata={
            "plain": True,
            "note": ParameterNote("Data: a kind, a weight and the settings of the kind, each"),
        },
    )
    options: Any = field(default=None, metadata={"plain": True})

    def __post_init__(self) -> None:
        """Check the values, and those that depend on each other."""
        check_section(self)
        if not self.trained:
            raise ConfigError("trained must name what is trained, such as '*'; got nothing")
        if bool(self.steps) == bool(self.epochs):
            raise ConfigError(
                f"expected either steps or epochs, got {self.steps} steps and {self.epochs:g} "
                "epochs; set the other one to 0"
            )
        object.__setattr__(self, "sources", tuple(map(_check_source, self._list_sources())))

    def _list_sources(self) -> list[Any]:
        found = list(self.sources) if isinstance(self.sources, tuple) else self.sources
        return check_list("sources", found)


def _check_source(source: Any) -> Mapping[str, Any]:
    entry = check_object("one of the sources", source)
    check_text("kind of a source", entry.get("kind"))
    weight = entry.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise ConfigError(f"weight of a source must be a number above 0, got {shorten(weight)}")
    return dict(entry)
