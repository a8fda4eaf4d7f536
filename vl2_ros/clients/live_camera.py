"""The images of one camera for a live view: the newest, and those that a question may be about."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from vl2_ros.node.cameras.camera_input import CameraInput
from vl2_ros.node.cameras.camera_topic import SETTLE_S
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import StoredImage
from vl2_ros.node.transport import Transport

#: Images whose time of arrival is known; of a fast camera some seconds.
_KNOWN_ARRIVALS = 300
#: Images kept for questions: the newest when one is sent or answered, as the node then begins with
#: the next, and those that come next; and of all together the last.
_HELD_NEXT, _MOST_HELD = 8, 32
#: How often the publishers are looked at, in seconds.
_FOLLOW_PERIOD_S = 0.5


class LiveCamera:
    """Subscribes to a camera while a page is open.

    Args:
        name: of the camera, as the node calls it.
        topic: of its raw images; the compressed ones follow it.
        transport: receives the images.
        image_transport: auto, raw or compressed, as of the node.
        on_image: called after each image, on the transport's thread.

    Attributes:
        name: as given.
        topic: of its raw images, absolute and remapped by this side.
    """

    def __init__(
        self,
        name: str,
        topic: str,
        transport: Transport,
        image_transport: str,
        on_image: Callable[[], None],
    ) -> None:
        """Resolve the topics; `open` subscribes.

        Raises:
            ConfigError: if the topic is no topic name, or the transport none of the three.
        """
        self.name = name
        parameters = NodeParameters(
            cameras=(topic,),
            depth_topics=("",),
            image_transport=image_transport,
            # Nobody sends an image again for a view, nor waits for it.
            image_reliability="best_effort",
        )
        self._input = CameraInput(topic, parameters, transport, self._keep)
        self.topic = self._input.name
        self._on_image = on_image
        self._lock = threading.Lock()
        self._is_open = False
        self._followed_s = -math.inf
        self._newest: StoredImage | None = None
        self._arrivals: OrderedDict[int, float] = OrderedDict()
        self._held: dict[int, StoredImage] = {}
        self._open_holds, self._room = 0, 0

    def open(self) -> None:
        """Subscribe, and follow the publishers; to be called every second or oftener."""
        now_s = time.monotonic()
        if not self._is_open:
            self._is_open = True
            self._input.subscribe()
            # Those that are known now have been there before: nothing has to settle.
            self._input.update(now_s - SETTLE_S)
            self._followed_s = -math.inf
        if now_s - self._followed_s > _FOLLOW_PERIOD_S:
            self._followed_s = now_s
            self._input.update(now_s)

    def close(self) -> None:
        """End the subscription; `open` begins again without an image."""
        if self._is_open:
            self._is_open = False
            self._input.close()
            with self._lock:
                self._newest = None
                self._held.clear()

    @property
    def newest(self) -> StoredImage | None:
        """Return the newest image; None while there is none."""
        with self._lock:
            return self._newest

    def find_arrival(self, stamp_ns: int) -> float | None:
        """Return when the last image of a stamp came, by the monotonic clock; None: not known."""
        with self._lock:
            return self._arrivals.get(stamp_ns)

    def hold(self) -> None:
        """Keep the newest image and the next few, one of which a question is about.

        Each call is followed by one of `release`.
        """
        with self._lock:
            self._open_holds += 1
            self._hold_next()

    def release(self, stamp_ns: int | None = None) -> StoredImage | None:
        """End one `hold`; returns the image of a stamp if it was held; None asks for none.

        Images are held as long as another question waits.
        """
        with self._lock:
            found = None if stamp_ns is None else self._held.get(stamp_ns)
            self._open_holds -= 1
            if self._open_holds:
                self._hold_next()
            else:
                self._held, self._room = {}, 0
            return found

    def _hold_next(self) -> None:
        self._room = _HELD_NEXT
        if self._newest is not None:
            self._hold_image(self._newest)

    def _hold_image(self, image: StoredImage) -> None:
        self._held[image.stamp_ns] = image
        if len(self._held) > _MOST_HELD:
            del self._held[next(iter(self._held))]

    def _keep(self, image: StoredImage) -> None:
        with self._lock:
            self._newest = image
            self._arrivals[image.stamp_ns] = time.monotonic()
            self._arrivals.move_to_end(image.stamp_ns)
            if len(self._arrivals) > _KNOWN_ARRIVALS:
                self._arrivals.popitem(last=False)
            if self._room:
                self._room -= 1
                self._hold_image(image)
        self._on_image()
