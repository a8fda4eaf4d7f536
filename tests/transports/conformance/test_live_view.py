"""A live view finds camera and node, shows both, and passes points and boxes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from tests.node.wire import PATIENCE_S, make_image, wait_until
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.clients.live_view import LiveView
from vl2_ros.structures import Frame, PromptKind, Result, VisualPrompt
from vl2_ros.views.live.audience import Audience
from vl2_ros.views.live.page_commands import PageCommand, PageMode

PERIOD_S = 0.05


class Shown:
    """Keeps what it is shown."""

    wants_frame = True

    def __init__(self) -> None:
        self.frames: list[tuple[Frame, list[str]]] = []

    def show(self, frame: Frame, results: list[Result], age_s: float | None) -> None:
        self.frames.append((frame, [one.text for one in results]))


@pytest.fixture
def shown(rig) -> Iterator[tuple[LiveView, Shown]]:
    """A view of a running node whose camera moves."""
    rig.start(diagnostics_period_s=0.1)
    camera, shown, is_over = rig.open_camera(), Shown(), threading.Event()

    def film() -> None:
        number = 0
        while not is_over.wait(PERIOD_S):
            number += 1
            rgb = np.full((16, 24, 3), number % 200, np.uint8)
            camera.publish(make_image(rig.client.types, number * 1_000_000, rgb=rgb))

    transport = rig.open("vl2_view")
    client = PerceptionClient(transport)
    with ExitStack() as stack:
        film_thread = threading.Thread(target=film)
        film_thread.start()
        stack.callback(film_thread.join)
        stack.callback(is_over.set)
        view = LiveView(client, transport, Audience(), [shown])
        stack.callback(view.close)
        assert client.wait_for_node(PATIENCE_S)
        yield view, shown


def test_camera_and_answers_are_shown(rig, shown):
    view, seen = shown
    wait_until(lambda: seen.frames, "a frame is shown")
    assert seen.frames[-1][0].frame_hw == (16, 24)
    box = VisualPrompt(PromptKind.BOX, np.array([[1.0, 2.5], [20.0, 12.0]]))
    view.handle(PageCommand(PageMode.WATCH, "find it", visual_prompts=(box,)))
    wait_until(lambda: seen.frames[-1][1] == ["answer to: find it"], "the answer is shown")
    (prompt,) = rig.perceiver.seen[-1][1].visual_prompts
    assert prompt.kind is PromptKind.BOX
    np.testing.assert_array_equal(prompt.points_xy, box.points_xy)
    assert rig.server.node.report().watches
    view.close()
    wait_until(lambda: not rig.server.node.report().watches, "its watch has ended")
