"""The words that commands to a node are likely to have, published when they change, and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vl2_ros.node.hearing.camera_names import speak_camera
from vl2_ros.node.transport import LATCHED, Transport
from vl2_ros.speech.vocabulary import Vocabulary

VOCABULARY_TOPIC, VOCABULARY_TYPE = "~/vocabulary", "vl2_ros/msg/Vocabulary"


class VocabularyOutput:
    """Publishes the vocabulary of a node; a hearing node that comes late gets the last one.

    Args:
        transport: sends the messages.
    """

    def __init__(self, transport: Transport) -> None:
        self._make = transport.types.make
        self._publisher = transport.advertise(VOCABULARY_TOPIC, VOCABULARY_TYPE, LATCHED)
        self._published: tuple[tuple[str, ...], ...] | None = None

    def update(self, names: Sequence[str], cameras: Sequence[str], watches: Sequence[str]) -> None:
        """Publish the words, if they are others than the last ones.

        Args:
            names: of things that the model was trained on.
            cameras: names of the node's cameras.
            watches: texts of its watches.
        """
        words = tuple(names), tuple(cameras), tuple(watches)
        if words != self._published:
            names, cameras, watches = map(list, words)
            message = self._make(VOCABULARY_TYPE, names=names, cameras=cameras, watches=watches)
            self._publisher.publish(message)
            self._published = words


def read_vocabulary(message: Any) -> Vocabulary:
    """Read a vl2_ros/Vocabulary; cameras by the words that people have for them."""
    # A robot with one camera has no name for it.
    cameras = message.cameras if len(message.cameras) > 1 else ()
    return Vocabulary(
        names=tuple(message.names),
        cameras=tuple(words for one in cameras if (words := speak_camera(one))),
        watches=tuple(message.watches),
    )
