"""Which model and how it runs, as one frozen value that every way in takes.

Knows no tensor library; the help of the command line is made from it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from vl2_ros.documents import shorten
from vl2_ros.errors import ConfigError
from vl2_ros.parameter_table import check_parameters, parameter

#: Inference backends; auto is onnxruntime on the CPU where there are engines, else torch.
BACKENDS = ("auto", "torch", "onnxruntime", "tensorrt", "tensorrt-rtx")
#: Far more than any checkpoint cuts an image into.
MAX_TILES = 64
PRECISIONS = ("auto", "float32", "bfloat16", "int8")
#: Backend -> precisions that may be asked of it; auto: any.
_SERVED = {
    "torch": ("auto", "float32", "bfloat16"),
    "onnxruntime": ("auto", "float32", "int8"),
    "tensorrt": ("auto",),
    "tensorrt-rtx": ("auto",),
}
MAX_THREADS = 1024
_model = partial(parameter, panel="Model")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Which model is loaded and how it runs; `note_of` has each field's meaning and range.

    Text and list fields hold what a ROS parameter can: an empty text is the default. Paths are
    kept as text, and a list of parts as a tuple, whatever they came as.
    """

    weights: str | os.PathLike[str] = _model(
        "",
        "Checkpoint folder, released or our own; by default the embedded model",
        metavar="FOLDER",
    )
    device: str = _model("auto", "cpu, cuda, cuda:1, ..., or auto: cuda where there is a GPU")
    backend: str = _model(
        "auto",
        "Inference backend; auto: onnxruntime on the CPU where the checkpoint has engines, else "
        "torch",
        choices=BACKENDS,
    )
    engines: str | os.PathLike[str] = _model(
        "",
        "Folder of engines; by default those built for the checkpoint on this machine, or shipped "
        "with it",
        metavar="FOLDER",
    )
    allow_fallback: bool = _model(
        True,
        "Use onnxruntime in place of TensorRT where the checkpoint has engines for it, else torch, "
        "with a warning, where engines cannot be used; false: an error",
    )
    verify: bool = _model(
        True,
        "Compare engines that were compiled for this GPU on another machine with torch, on stored "
        "calls, at their first load; false: they answer unverified, with a warning",
    )
    without: tuple[str, ...] = _model(
        (),
        "Parts of the network that are not loaded and take no memory, such as image_generation; "
        "`vl2 info` lists the parts",
        metavar="PART",
    )
    max_tiles: int = _model(
        0,
        "Most tiles that an image is cut into, the whole image behind several of them not counted; "
        "fewer make prompts shorter and answers faster, with less detail; 0: the checkpoint's own",
        least=0,
        most=MAX_TILES,
        metavar="COUNT",
    )
    threads: int = _model(
        0,
        "Threads that compute one graph on the CPU; 0: one for each core, or as OMP_NUM_THREADS "
        "says on torch",
        least=0,
        most=MAX_THREADS,
        metavar="COUNT",
    )
    memory_budget_mb: float = _model(
        0.0,
        "MB that the weights of decoders may take together: they are loaded when they are needed "
        "and freed for each other; torch only; 0: no limit",
        least=0.0,
        most=10_000_000.0,
        metavar="MB",
    )
    precision: str = _model(
        "auto",
        "Precision of the arithmetic; int8: engines of onnxruntime; bfloat16: the language side, "
        "torch only; auto: on a CPU int8 where engines of it ship with the checkpoint and the "
        "processor has units for it (VNNI, dot product), on a GPU, and on a CPU that computes in "
        "it where more than 4 GB in float32 are stored in it, bfloat16, else float32",
        choices=PRECISIONS,
    )
    cuda_graphs: bool = _model(
        True,
        "Replay CUDA graphs of shapes that come again, torch only; false: slower, with less GPU "
        "memory",
    )

    def __post_init__(self) -> None:
        """Check every value against its note, and values against each other.

        Raises:
            ConfigError: naming the option, what is expected and what came.
        """
        for name in ("weights", "engines"):
            value: Any = getattr(self, name)
            if isinstance(value, os.PathLike):
                object.__setattr__(self, name, os.fspath(value))
        if isinstance(self.without, list):
            object.__setattr__(self, "without", tuple(self.without))
        check_parameters(self)
        if not _DEVICE.fullmatch(self.device):
            raise ConfigError(
                f"device must be auto, cpu, cuda or cuda:1, ..., got {shorten(self.device)}"
            )
        if self.without:
            # It brings numpy, which the help of the command line does without.
            from vl2_ros.model.parts import check_part_names

            check_part_names(self.without, "without")
        if self.memory_budget_mb and self.backend not in ("auto", "torch"):
            raise ConfigError(
                "memory_budget_mb works with the backend torch only, got "
                f"{self.memory_budget_mb:g} and {self.backend}; choose torch, or skip parts by "
                "without"
            )
        served = _SERVED.get(self.backend, PRECISIONS)
        if self.precision not in served:
            raise ConfigError(
                f"precision must be {' or '.join(served)} with the backend {self.backend}, got "
                f"{self.precision}; choose another backend, or engines that were built in it"
            )
        if self.precision == "int8" and self.device.startswith("cuda"):
            raise ConfigError(
                f"precision int8 is for the CPU, got the device {self.device}; choose the device "
                "cpu or auto, or another precision"
            )
        if self.precision == "int8" and self.memory_budget_mb:
            raise ConfigError(
                "memory_budget_mb works with the backend torch, which has no int8, got "
                f"{self.memory_budget_mb:g}; choose another precision, or skip parts by without"
            )
