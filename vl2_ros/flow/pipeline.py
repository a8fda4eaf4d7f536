"""The flow: a frame and a command in, events and one typed result out.

preprocess -> vision encoder -> LLM with routing -> a perception decoder per route -> postprocess.
Engines do the arithmetic; this file needs numpy only and never asks which backend it has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from vl2_ros.errors import EngineError
from vl2_ros.flow.branches import Condition, decode_branches
from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.flow.generated_images import IMAGE_BRANCHES, make_images
from vl2_ros.flow.prompt_features import (
    PromptFeatures,
    PromptInputs,
    check_regions,
    encode_draft,
    encode_features,
    find_view,
    prepare_prompt,
)
from vl2_ros.flow.sentence import NOT_SURE, write_sentence
from vl2_ros.flow.spoken import Speaker, SpokenAnswer, repeat_answer
from vl2_ros.flow.watch_memory import (
    WatchMemory,
    find_answer,
    find_draft,
    read_memory,
    remember_answer,
    remember_tracks,
)
from vl2_ros.processing.calibration import Calibration
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.answer import NAMELESS
from vl2_ros.processing.language.command_prompt import CommandPrompt, write_prompt, write_talk
from vl2_ros.processing.language.pose_prompt import clean_keypoint_names, pose_conversation
from vl2_ros.processing.language.prompt import direct_conversation, referring_answer
from vl2_ros.processing.language.task_formats import TaskFormat
from vl2_ros.processing.language.tokenizer import Tokenizer, neutralise
from vl2_ros.processing.results.detection_branch import InstanceLimits
from vl2_ros.runtime.engine import Engines
from vl2_ros.structures import (
    Branch,
    Command,
    Event,
    Frame,
    GeneratedImage,
    ModelInfo,
    Result,
    ResultEvent,
    Route,
    StageEvent,
    WatchMode,
)


@dataclass(slots=True)
class _Clock:
    """Wall time per stage; a stage that is entered several times adds up."""

    stage_ms: dict[str, float] = field(default_factory=dict)
    _stage: str = ""
    _began: float = 0.0

    def enter(self, stage: str) -> StageEvent:
        self.leave()
        self._stage, self._began = stage, time.perf_counter()
        return StageEvent(stage)

    def leave(self) -> None:
        if self._stage:
            spent = (time.perf_counter() - self._began) * 1e3
            self.stage_ms[self._stage] = self.stage_ms.get(self._stage, 0.0) + spent
            self._stage = ""


class Pipeline:
    """Answers one command about one frame at a time, always on the same thread.

    Between calls it keeps what further commands about a frame share, as long as the frame is there.

    Args:
        engines: execute the graphs.
        tokenizer: tokenizer of the checkpoint.
        processing: how its images and prompts are prepared.
        name: of the checkpoint.
        identity: hash that changes with its weights, or a callable that returns it or `pending`.
        calibration: its limits, used as long as they are of this identity; by default none are
            known.
        names: of the things that it was trained on, as far as they are known.
    """

    def __init__(
        self,
        engines: Engines,
        tokenizer: Tokenizer,
        processing: ProcessingConfig,
        *,
        name: str = "",
        identity: str | Callable[[], str] = "",
        calibration: Calibration | None = None,
        names: tuple[str, ...] = (),
    ) -> None:
        """Store the parts."""
        self.engines = engines
        self.tokenizer = tokenizer
        self.processing = processing
        self.calibration = calibration or Calibration()
        self._frame_memory = FrameMemory()
        self._speaker = Speaker(engines.language_model, tokenizer, processing, self._frame_memory)
        language = engines.language_model.info
        self._find_identity = None if isinstance(identity, str) else identity
        self._info = ModelInfo(
            name=name,
            identity=identity if isinstance(identity, str) else identity(),
            backend=language.backend,
            device=language.device,
            engine_identity=engines.identity,
            routes=(Route.ANSWER, *engines.routes),
            names=names,
        )

    @property
    def info(self) -> ModelInfo:
        """Return the model's info; of large weights the identity is `pending` for a while."""
        if self._find_identity is not None:
            self._info = replace(self._info, identity=self._find_identity())
        return self._info

    @property
    def _limits(self) -> Calibration:
        """Return the calibration; none while it is not known whether it is of these weights."""
        if self.calibration.identity in ("", self.info.identity):
            return self.calibration
        return Calibration()

    def answer(self, frame: Frame | None, command: Command) -> Result:
        """Run a command to its end; raises as `run` does."""
        for event in self.run(frame, command):
            if isinstance(event, ResultEvent):
                return event.result
        raise EngineError("the run ended without a result")

    def run(self, frame: Frame | None, command: Command, memory: object = None) -> Iterator[Event]:
        """Answer a command, yielding an event per stage, per word and per denoising step.

        Closing the iterator stops the run before the next token, decoder call or denoising step.

        Args:
            frame: the image; None when there is none, which only image generation allows.
            command: the sentence and its limits.
            memory: of the frame before in the same watch; None for the first one.

        Yields:
            StageEvent, TextEvent and ProgressEvent in the order of the flow; last one ResultEvent.

        Raises:
            InputError: if the command, the image or the memory cannot be used.
            RouteError: if the answer opened a route whose decoder is not loaded.
            EngineError: if an engine failed.
        """
        clock, was = _Clock(), read_memory(memory)
        mode = command.watching.mode or self._default_mode
        # Plain answers neither use nor leave anything beyond themselves.
        seen = FrameMemory() if mode is WatchMode.PLAIN else self._frame_memory
        yield clock.enter("preprocess")
        known = find_answer(frame, command, mode, was)
        if known is None:
            spoken = yield from self._speak(frame, command, mode, was, seen, clock)
        else:
            # In the mode AUTO the scene is the same; else the frame is a new one altogether.
            in_domain = known.in_domain if mode is WatchMode.AUTO else None
            spoken = yield from repeat_answer(known, in_domain)
        limits = InstanceLimits(
            command.score_threshold, command.max_instances, single=spoken.single
        )
        branches, images = yield from self._decode(
            frame, command, spoken.conditions, limits, seen, clock
        )
        branches, tracks = remember_tracks(frame, command, branches, was)
        clock.leave()
        yield ResultEvent(
            Result(
                command_id=command.id,
                stamp_ns=frame.stamp_ns if frame else 0,
                frame_id=frame.frame_id if frame else "",
                text=self._write_text(command, spoken, branches),
                branches=branches,
                stage_ms=clock.stage_ms,
                images=images,
                raw_text=spoken.raw_text,
                in_domain=spoken.in_domain,
                answer_score=spoken.score,
                answer_age=spoken.age,
            ),
            WatchMemory(tracks, remember_answer(frame, command, mode, spoken, was)),
        )

    @property
    def _default_mode(self) -> WatchMode:
        """Return AUTO where it was measured: for models of spoken commands."""
        return WatchMode.AUTO if self.processing.wording == "spoken" else WatchMode.EXACT

    def _speak(
        self,
        frame: Frame | None,
        command: Command,
        mode: WatchMode,
        was: WatchMemory,
        seen: FrameMemory,
        clock: _Clock,
    ) -> Generator[Event, None, SpokenAnswer]:
        """Have the language model answer about this frame."""
        # What PLAIN computes is what others are compared with.
        shared = None if mode is WatchMode.PLAIN else frame
        prompt = write_prompt(frame, command, self.processing, self.info.routes)
        check_regions(prompt, self.engines)
        inputs = prepare_prompt(prompt, self.tokenizer, self.processing, frame, seen)
        yield clock.enter("vision")
        features = encode_features(inputs, self.engines, seen)
        yield clock.enter("language")
        if prompt.format.answer is None:
            draft = find_draft(command, mode, was)
            if draft is None and mode is not WatchMode.PLAIN:
                draft = encode_draft(prompt, inputs, self.tokenizer, self.processing)
            spoken = yield from self._speaker.generate(
                command, prompt, inputs.ids, features, draft or (), shared
            )
        else:
            spoken = self._speaker.read(prompt, inputs.ids, features, shared)
        score = spoken.calibrate_score(self._limits)
        in_domain = self._find_domain(frame, inputs, features, seen)
        return replace(spoken, score=score, in_domain=in_domain)

    def _write_text(
        self, command: Command, spoken: SpokenAnswer, branches: Sequence[Branch]
    ) -> str:
        """Write the text of the result: what was found, not what was announced."""
        least = self._limits.least_answer_score
        if spoken.score is not None and spoken.score < least:
            return NOT_SURE
        return write_sentence(spoken.parsed, branches, command.text, spoken.single)

    def _find_domain(
        self,
        frame: Frame | None,
        inputs: PromptInputs,
        features: PromptFeatures,
        seen: FrameMemory,
    ) -> bool | None:
        """Return whether the frame is like those of training; see `Result.in_domain`."""
        domain, encoded = self._limits.domain, features.image_tokens
        if frame is None or domain is None or encoded is None:
            return None
        key = ("in_domain", inputs.is_squashed)
        return seen.get(frame, key, lambda: domain.contains(find_view(inputs, encoded)))

    def _decode(
        self,
        frame: Frame | None,
        command: Command,
        conditions: Sequence[Condition],
        limits: InstanceLimits,
        seen: FrameMemory,
        clock: _Clock,
    ) -> Generator[Event, None, tuple[tuple[Branch, ...], tuple[GeneratedImage, ...]]]:
        """Run the decoders and generators that the answer opened."""
        wanted = [one for one in conditions if one.route in IMAGE_BRANCHES]
        sought = [one for one in conditions if one.route not in IMAGE_BRANCHES]
        # Before the detection decoder works for an answer that cannot be completed.
        self.engines.check_routes([one.route for one in wanted])
        branches: list[Branch] = []
        images: tuple[GeneratedImage, ...] = ()
        if sought:
            yield clock.enter("detection")
            branches = decode_branches(self.engines, self.processing, frame, sought, limits, seen)
        if wanted:
            yield clock.enter("diffusion")
            images = yield from make_images(self.engines, frame, wanted, command.image_options)
        return tuple(branches), images

    def detect(
        self,
        frame: Frame,
        names: Sequence[str],
        *,
        route: Route = Route.DETECT,
        score_threshold: float = 0.0,
        max_instances: int = 100,
        with_masks: bool = True,
    ) -> Branch:
        """Look for names without generating: one pass over the fixed question and answer.

        This is how the published scores are computed (docs/spec/core.md, section 9.5).

        Args:
            frame: the image.
            names: classes in the order of the class ids; one expression for GROUND.
            route: DETECT, SEGMENT or GROUND.
            score_threshold: only scores above it are kept.
            max_instances: most instances.
            with_masks: False skips masks.

        Raises:
            InputError: if no object is named or there are more names than the model accepts.
            RouteError: if the checkpoint has no detection decoder.
        """
        conversation = direct_conversation(route, names, self.processing)
        limits = InstanceLimits(score_threshold, max_instances, with_masks)
        return self._decode_known(frame, conversation, tuple(names), limits)

    def pose(
        self,
        frame: Frame,
        objects: Sequence[str],
        keypoints: Sequence[str],
        *,
        score_threshold: float = 0.0,
        max_instances: int = 100,
        nms_oks: float | None = None,
    ) -> Branch:
        """Find named keypoints on every object without generating, as `detect` finds objects.

        Args:
            frame: the image.
            objects: classes in the order of the class ids.
            keypoints: what to find on each, in any words; see `clean_keypoint_names`.
            score_threshold: only scores above it are kept.
            max_instances: most poses.
            nms_oks: see `suppress_poses`; None keeps all, as the published scores do.

        Raises:
            InputError: if no object or no keypoint is named, or there are more than the model
                takes.
            RouteError: if the checkpoint has no pose decoder.
        """
        names = clean_keypoint_names(keypoints, self.processing)
        conversation = pose_conversation(objects, names, self.processing)
        limits = InstanceLimits(score_threshold, max_instances, nms_oks=nms_oks)
        return self._decode_known(frame, conversation, (*objects, *names), limits)

    def ground(self, frame: Frame, question: str, *, with_masks: bool = True) -> Branch:
        """Find the one thing that a whole question asks for, without generating.

        Args:
            frame: the image.
            question: in any words, unlike the expression that `detect` puts into its own question.
            with_masks: False skips masks.

        Raises:
            InputError: if the prompt is longer than the model accepts.
            RouteError: if the checkpoint has no detection decoder.
        """
        answer = referring_answer(NAMELESS, self.processing)
        limits = InstanceLimits(0.0, 1, with_masks)
        return self._decode_known(frame, (neutralise(question), answer), (NAMELESS,), limits)

    def talk(self, frame: Frame, command: Command) -> str:
        """Generate an answer in words; the sentence is passed on as it is, whatever it asks for.

        Args:
            frame: the image.
            command: sentence, regions and most tokens; "region1" in the sentence is its first one.

        Returns:
            the answer without special tokens.

        Raises:
            InputError: if the prompt cannot be used, or points where the model cannot look.
        """
        prompt = write_talk(frame, command, self.processing)
        check_regions(prompt, self.engines)
        inputs = prepare_prompt(prompt, self.tokenizer, self.processing)
        features = encode_features(inputs, self.engines)
        words = self._speaker.generate(command, prompt, inputs.ids, features, ())
        while True:
            try:
                next(words)
            except StopIteration as ended:
                spoken: SpokenAnswer = ended.value
                return spoken.parsed.text.strip()

    def _decode_known(
        self,
        frame: Frame,
        conversation: tuple[str, str],
        phrases: tuple[str, ...],
        limits: InstanceLimits,
    ) -> Branch:
        """Read one question and its answer, a phrase for each routing token, in one pass."""
        prompt = CommandPrompt(TaskFormat(*conversation, phrases), (frame,))
        engines, config, seen = self.engines, self.processing, self._frame_memory
        inputs = prepare_prompt(prompt, self.tokenizer, config, frame, seen)
        known = self._speaker.read(prompt, inputs.ids, encode_features(inputs, engines, seen))
        return decode_branches(engines, config, frame, known.conditions, limits, seen)[0]
