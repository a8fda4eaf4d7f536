"""A node, a moving camera and a served page in the test's process, over memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import make_image
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.clients.live_view import LiveView
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Qos
from vl2_ros.transports.memory import MemoryBus, MemoryTransport
from vl2_ros.views.live.audience import Audience
from vl2_ros.views.live.frame_output import FrameOutput, PageOutput
from vl2_ros.views.live.server import LiveServer

CAMERA = "/camera/image_raw"
FRAME_HW = (480, 640)
PERIOD_NS = 50_000_000
FIRST_STAMP_NS = 1_000_000_000


class LiveStage:
    """Serves the page of a scripted node whose camera shows an image that gets brighter.

    Args:
        host: of the page.
        camera: name that the view is given; empty: it finds the node's.
        outputs: where frames go beside the page.
        node_camera: what the node calls its camera.
        remap: of the node.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        camera: str = "",
        outputs: Sequence[FrameOutput] = (),
        node_camera: str = CAMERA,
        remap: Mapping[str, str] | None = None,
    ) -> None:
        bus = MemoryBus()
        self.perceiver = ScriptedPerceiver()
        node = MemoryTransport(bus, "vl2", remap=remap)
        eye, asking = (MemoryTransport(bus, name) for name in ("eye", "vl2_view"))
        self._transports = (node, eye, asking)
        # An image of any age counts, so that no test depends on how fast it runs.
        parameters = NodeParameters(
            cameras=(node_camera,),
            max_frame_age_s=0.0,
            command_deadline_s=60.0,
            diagnostics_period_s=0.1,
        )
        self.node = PerceptionServer(self.perceiver, node, parameters)
        self.node.start()
        self.client = PerceptionClient(asking)
        self.audience = Audience()
        self.view = LiveView(
            self.client, asking, self.audience, [PageOutput(self.audience), *outputs], camera=camera
        )
        self.server = LiveServer(self.audience, self.view.handle, host=host)
        self.camera = eye.advertise(CAMERA, "sensor_msgs/msg/Image", Qos())
        self._types = eye.types
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._film, name="film", daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def close(self) -> None:
        self.perceiver.may_answer.set()
        self._is_over.set()
        self._thread.join()
        self.view.close()
        self.server.close()
        self.node.stop()
        for transport in self._transports:
            transport.close()

    def _film(self) -> None:
        number = 0
        while not self._is_over.wait(PERIOD_NS / 1e9):
            rgb = np.full((*FRAME_HW, 3), 60 + number % 120, np.uint8)
            stamp_ns = FIRST_STAMP_NS + number * PERIOD_NS
            self.camera.publish(make_image(self._types, stamp_ns, rgb=rgb))
            number += 1
