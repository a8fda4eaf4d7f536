"""The last images of a topic by their stamps, so that a result finds its image."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from vl2_ros.node.cameras.camera_image import store_compressed_image, store_image
from vl2_ros.node.cameras.camera_input import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from vl2_ros.node.request import StoredImage
from vl2_ros.node.transport import NEWEST_FROM_ANY, Qos, Transport

_KEPT_IMAGES = 30


class ReceivedImages:
    """The last images of a topic, by their stamps.

    Args:
        transport: receives them.
        topic: of raw images; compressed ones come on its `/compressed`.
        forms: which of the two are subscribed to.
        qos: of the subscriptions.
    """

    def __init__(
        self,
        transport: Transport,
        topic: str,
        *,
        forms: Sequence[str] = ("raw", "compressed"),
        qos: Qos = NEWEST_FROM_ANY,
    ) -> None:
        self._changed = threading.Condition()
        self._by_stamp: OrderedDict[int, StoredImage] = OrderedDict()
        if "raw" in forms:
            transport.subscribe(topic, IMAGE_TYPE, qos, self._keep(store_image))
        if "compressed" in forms:
            name, keep = f"{topic}/compressed", self._keep(store_compressed_image)
            transport.subscribe(name, COMPRESSED_IMAGE_TYPE, qos, keep)

    def wait_for(self, stamp_ns: int, timeout_s: float, *, or_later: bool = False) -> bool:
        """Wait until an image has been received.

        Args:
            stamp_ns: its stamp.
            timeout_s: most seconds.
            or_later: a later image ends the wait: the sender skips images and goes back to none.

        Returns:
            Whether the image is there.
        """

        def is_over() -> bool:
            newest = next(reversed(self._by_stamp), -1)
            return stamp_ns in self._by_stamp or (or_later and newest > stamp_ns)

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
            return stamp_ns in self._by_stamp

    def find(self, stamp_ns: int) -> StoredImage | None:
        """Return a received image, None when it is not among the last."""
        with self._changed:
            return self._by_stamp.get(stamp_ns)

    def _keep(self, store: Callable[[Any], StoredImage]) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            image = store(message)
            with self._changed:
                self._by_stamp[image.stamp_ns] = image
                self._by_stamp.move_to_end(image.stamp_ns)
                if len(self._by_stamp) > _KEPT_IMAGES:
                    self._by_stamp.popitem(last=False)
                self._changed.notify_all()

        return keep
