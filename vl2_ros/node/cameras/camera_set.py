"""All cameras of a node: subscribed together, found by name, watched and judged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from vl2_ros.errors import VL2Error
from vl2_ros.node.cameras.camera_health import CameraHealth, CameraMonitor
from vl2_ros.node.cameras.camera_input import CameraInput
from vl2_ros.node.clock import NodeClock
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.reports import CameraReport
from vl2_ros.node.request import StoredImage
from vl2_ros.node.transport import Transport

_LOG = logging.getLogger(__name__)


class CameraSet:
    """The cameras of a node.

    Args:
        parameters: name the cameras.
        transport: receives the images.
        store: called with the name of a camera and its image, on the transport's thread.
        clock: of ages and rates.

    Raises:
        ConfigError: if the name of a camera is no topic name.
    """

    def __init__(
        self,
        parameters: NodeParameters,
        transport: Transport,
        store: Callable[[str, StoredImage], None],
        clock: NodeClock,
    ) -> None:
        def make(camera: str) -> CameraInput:
            return CameraInput(
                camera, parameters, transport, lambda image: store(camera, image), clock
            )

        self._inputs = {camera: make(camera) for camera in parameters.cameras}
        # A camera may also be named by its topic, unless that is the name of another one.
        self._names = {one.name: camera for camera, one in self._inputs.items()}
        self._names |= {camera: camera for camera in self._inputs}
        self._log = RepeatedLog(_LOG)
        self._monitors = {
            camera: CameraMonitor(one, transport) for camera, one in self._inputs.items()
        }

    def subscribe(self) -> None:
        """Open the subscriptions of all cameras."""
        for camera in self._inputs.values():
            camera.subscribe()

    def close(self) -> None:
        """Close them; `subscribe` opens them again."""
        for camera in self._inputs.values():
            camera.close()

    def update(self, now_s: float) -> None:
        """Follow the publishers; to be called every second or oftener.

        Args:
            now_s: monotonic time.
        """
        for name, camera in self._inputs.items():
            try:
                camera.update(now_s)
            except VL2Error as error:
                # Tried again in the next round; the others are followed meanwhile.
                self._log.log(
                    logging.WARNING, name, "camera %s: cannot subscribe again: %s", name, error
                )

    def find_name(self, name: str) -> str:
        """Return the camera that a command names, by its name or topic; other names as they are."""
        return self._names.get(name, name)

    def check(
        self,
        reports: Sequence[CameraReport],
        parameters: NodeParameters,
        active_s: float,
        now_s: float,
    ) -> tuple[CameraHealth, ...]:
        """Judge each camera.

        Args:
            reports: counts of the images of each.
            parameters: of the node.
            active_s: seconds of the node's clock since it began to listen.
            now_s: monotonic time.
        """
        return tuple(
            self._monitors[one.name].check(one, parameters, active_s, now_s) for one in reports
        )
