"""Train the embedded model on simulator frames: language, super link, detection, masks at once.

One run does everything: render frames, train the tokenizer, optimise, average, save. It writes a
resumable state every few minutes, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from vl2_ros.datasets.tabletop import TabletopCache, render_cache
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint import load_model, save_model
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.training.embedded_config import embedded_model_config, embedded_processing_config
from vl2_ros.training.embedded_loss import TokenLabellers, compute_loss, get_decoder
from vl2_ros.training.tabletop_batches import TabletopBatches, TrainingBatch
from vl2_ros.training.tokenizer import train_tokenizer
from vl2_ros.training.workers import WorkerGroup, run_workers

logger = logging.getLogger(__name__)

STATE_FILE = "training_state.pt"


@dataclass(frozen=True, slots=True)
class EmbeddedRecipe:
    """What a training run is told.

    Attributes:
        minutes: optimisation time; the learning rate follows it.
        batch_size: pictures per step and worker.
        learning_rate: peak of AdamW.
        warmup_steps: linear rise from 0, after every start.
        flat_share: share of the time at the peak before the cosine.
        final_share: learning rate at the end over the peak.
        weight_decay: on matrices only.
        clip_norm: gradient norm limit, of the decoder and of the rest each.
        super_link_gradient: factor on the decoder's gradient into the LLM, which is much smaller
            than that of the language loss.
        language_every: the LLM is trained in every so many-th step; in the others it only names
            the classes and the decoder sees twice as many pictures a second. 1 until names are
            learned.
        average_decay: decay per step of the weight average that is saved.
        vocab_size: of the tokenizer, special tokens included.
        seed: seed of initialisation and sampling.
        save_every_s: seconds between resumable states.
        frames: simulator frames, seeds 0 to `frames` - 1.
    """

    minutes: float = 120.0
    batch_size: int = 4
    learning_rate: float = 7e-4
    warmup_steps: int = 200
    flat_share: float = 0.15
    final_share: float = 0.02
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    super_link_gradient: float = 2.0
    language_every: int = 1
    average_decay: float = 0.999
    vocab_size: int = 2048
    seed: int = 0
    save_every_s: float = 300.0
    frames: int = 20_000

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in (
            "minutes",
            "batch_size",
            "learning_rate",
            "language_every",
            "frames",
            "save_every_s",
        ):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")


#: Called with (step, share of the time used, log row).
OnStep = Callable[[int, float, dict[str, float]], None]


def train_embedded(
    out: Path,
    cache: Path,
    *,
    recipe: EmbeddedRecipe | None = None,
    init: Path | None = None,
    workers: int = 2,
    on_render: Callable[[int, int], None] | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Render what the cache lacks, then train, or go on where a stopped run was.

    Args:
        out: folder of the checkpoint, the log and the resumable state.
        cache: folder of rendered frames.
        recipe: what to do; the shipped model's recipe when None.
        init: checkpoint of this architecture whose weights and tokenizer a new run starts from.
        workers: processes of one thread each, for rendering and for training.
        on_render: called with (frames done, frames wanted).
        on_step: called every 20 steps.

    Raises:
        SimulationError: if frames cannot be rendered here.
        ConfigError: if the cache or the state on disk belongs to other settings.
    """
    recipe = EmbeddedRecipe() if recipe is None else recipe
    render_cache(cache, range(recipe.frames), processes=workers, progress=on_render)
    out.mkdir(parents=True, exist_ok=True)
    if init is not None and not (out / STATE_FILE).exists():
        _start_from(init, out)
    if not (out / "tokenizer.json").exists():
        train_tokenizer(out, vocab_size=recipe.vocab_size, seed=recipe.seed)
    run_workers(workers, _train_worker, out, cache, recipe, first={"on_step": on_step})


def _start_from(init: Path, out: Path) -> None:
    """Make `out` hold the weights and the tokenizer of another checkpoint."""
    save_model(load_model(init), out, dtype=torch.float32)
    shutil.copy(init / "tokenizer.json", out / "tokenizer.json")


def _train_worker(
    group: WorkerGroup,
    out: Path,
    cache: Path,
    recipe: EmbeddedRecipe,
    on_step: OnStep | None = None,
) -> None:
    EmbeddedTrainer(out, cache, recipe, group).run(on_step)


def learning_rate_share(recipe: EmbeddedRecipe, step: int, elapsed_share: float) -> float:
    """Return the factor on the peak learning rate: warm-up, flat, cosine in time."""
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    if elapsed_share <= recipe.flat_share:
        return warmup
    progress = min(1.0, (elapsed_share - recipe.flat_share) / (1.0 - recipe.flat_share))
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return warmup * (recipe.final_share + (1.0 - recipe.final_share) * cosine)


@torch.no_grad()
def quiet_text_enhancers(model: VisionLLM, scale: float = 0.1) -> None:
    """Make the encoder's text layers start close to the identity.

    Fresh ones soon add the same large vector to every class, which helps to tell objects from the
    table but leaves the names nearly equal; learning them then takes very long.
    """
    for layer in get_decoder(model).encoder.layers:
        enhancer = layer.text_enhancer_layer
        enhancer.self_attn.out_proj.weight.mul_(scale)
        enhancer.fc2.weight.mul_(scale)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split parameters: weight decay on matrices, none on vectors and tables of queries."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        table = "query" in name or "embed_tokens" in name or name.startswith("super_link")
        (plain if parameter.ndim < 2 or table else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def bfloat16_is_faster(repeats: int = 5) -> bool:
    """Time this CPU: where it lacks bfloat16 instructions, autocast costs ten times more, not less.

    Args:
        repeats: timed products of each kind; the best of each counts.
    """
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        rows, weights = torch.ones(512, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            nn.functional.linear(rows, weights)
            times.append(time.perf_counter() - began)
        best[dtype] = min(times)
    return best[torch.bfloat16] < best[torch.float32]


class EmbeddedTrainer:
    """One training run with its state on disk.

    Args:
        out: folder of the checkpoint, the log and the resumable state.
        cache: folder of rendered frames.
        recipe: what to do.
        group: the workers that train together.
    """

    def __init__(
        self, out: Path, cache: Path, recipe: EmbeddedRecipe, group: WorkerGroup | None = None
    ) -> None:
        """Build network and optimiser around the tokenizer in `out`, or read them back."""
        self._out = out
        self._recipe = recipe
        self._group = WorkerGroup() if group is None else group
        self._processing: ProcessingConfig = embedded_processing_config()
        self._tokenizer: Tokenizer = load_tokenizer(out)
        torch.manual_seed(recipe.seed)
        config = embedded_model_config(self._tokenizer.vocab_size)
        self.model = VisionLLM(config, self._tokenizer.tokens)
        quiet_text_enhancers(self.model)
        self._average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self._labellers = TokenLabellers(config)
        self._optimizer = torch.optim.AdamW(
            [
                *parameter_groups(self.model, recipe.weight_decay),
                {"params": list(self._labellers.parameters()), "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
        )
        decoder = set(get_decoder(self.model).parameters())
        others = [p for p in self.model.parameters() if p not in decoder]
        self._clipped = (list(decoder), [*others, *self._labellers.parameters()])
        self._clipped_without_language = (
            list(decoder),
            list(self._labellers.decoder_tokens.parameters()),
        )
        self._step = 0
        self._elapsed_s = 0.0
        self._clock = time.monotonic()
        self._resume()
        self._first_step = self._step
        self._autocast = bfloat16_is_faster()
        logger.info("autocast to bfloat16: %s", self._autocast)
        self._batches = TabletopBatches(
            TabletopCache(cache),
            self._tokenizer,
            self._processing,
            batch_size=recipe.batch_size,
            seed=(recipe.seed, self._step, self._group.rank),
        )

    @property
    def elapsed_share(self) -> float:
        """Return how much of the recipe's time is used, in 0..1."""
        return min(1.0, self._elapsed_s / (self._recipe.minutes * 60.0))

    @property
    def trains_language(self) -> bool:
        """Tell whether the next step trains the LLM, the same on every worker."""
        return self._step % self._recipe.language_every == 0

    def next_batch(self) -> TrainingBatch:
        """Draw this worker's next batch."""
        return self._batches.next(with_language=self.trains_language)

    def run(self, on_step: OnStep | None = None) -> None:
        """Optimise until the recipe's time is used, then save the averaged weights.

        Args:
            on_step: called with (step, elapsed_share, log row) every 20 steps.
        """
        self.model.train()
        self._clock = last_save = time.monotonic()
        parts: dict[str, torch.Tensor] = {}
        while self._elapsed_s < self._recipe.minutes * 60.0:
            parts |= self._optimise(self.next_batch())
            self._step += 1
            if not self._group.is_first:
                continue
            if self._step % 20 == 0:
                row = self._log(parts)
                if on_step is not None:
                    on_step(self._step, self.elapsed_share, row)
            if time.monotonic() - last_save > self._recipe.save_every_s:
                self._save_state()
                self.save()
                last_save = time.monotonic()
        if self._group.is_first:
            self._save_state()
            self.save()

    def save(self) -> None:
        """Write the averaged weights as a checkpoint that `vl2 ask --weights` takes."""
        current = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self._average)
        save_model(self.model, self._out, dtype=torch.float16)
        self._processing.save(self._out)
        self.model.load_state_dict(current)

    def _optimise(self, batch: TrainingBatch) -> dict[str, torch.Tensor]:
        since_start = self._step - self._first_step
        share = learning_rate_share(self._recipe, since_start, self.elapsed_share)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * share
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._autocast):
            loss, parts = compute_loss(
                self.model, batch, self._labellers, self._recipe.super_link_gradient
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clipped = self._clipped if self.trains_language else self._clipped_without_language
        self._average_over_workers([parameter for group in clipped for parameter in group])
        limit = self._recipe.clip_norm
        norms = [nn.utils.clip_grad_norm_(group, limit) for group in clipped]
        if all(torch.isfinite(norm) for norm in norms):
            self._optimizer.step()
            self._update_average()
        else:
            logger.warning("step %d skipped: gradient norms are %s", self._step, norms)
        return {"loss": loss, "norm_decoder": norms[0], "norm_language": norms[1], **parts}

    def _average_over_workers(self, trained: list[nn.Parameter]) -> None:
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        now = time.monotonic()
        # Every worker counts the same time, so that all end in the same step.
        self._elapsed_s += self._group.average([p.grad for p in trained], now - self._clock)
        self._clock = now

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self._recipe.average_decay, (1 + self._step) / (10 + self._step))
        state = self.model.state_dict()
        floats = [k for k, v in state.items() if v.is_floating_point()]
        averages = [self._average[k] for k in floats]
        torch._foreach_lerp_(averages, [state[k] for k in floats], 1 - decay)
        for key in state.keys() - set(floats):
            self._average[key].copy_(state[key])

    def _log(self, parts: dict[str, torch.Tensor]) -> dict[str, float]:
        row = {key: round(float(value.detach()), 4) for key, value in parts.items()}
        row |= {
            "step": self._step,
            "minutes": round(self._elapsed_s / 60.0, 2),
        }
        with (self._out / "training_log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row

    def _save_state(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self._average,
            "labellers": self._labellers.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "elapsed_s": self._elapsed_s,
            "recipe": asdict(self._recipe),
        }
        part = self._out / f"{STATE_FILE}.part"
        torch.save(state, part)
        part.replace(self._out / STATE_FILE)

    def _resume(self) -> None:
        path = self._out / STATE_FILE
        if not path.exists():
            if (self._out / "model.safetensors").exists():
                self.model.load_state_dict(load_model(self._out).state_dict())
                self._average = {k: v.clone() for k, v in self.model.state_dict().items()}
            return
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._average = state["average"]
        self._labellers.load_state_dict(state["labellers"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._step = state["step"]
        self._elapsed_s = state["elapsed_s"]
        logger.info("resumed at step %d, %.1f minutes", self._step, self._elapsed_s / 60.0)
