"""The transforms of the last seconds as tf2 keeps and interpolates them.

Each frame has one parent at a time. Between two transforms of a frame the translation moves on a
line and the rotation on the shortest arc; beyond the first and the last one nothing is known.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.node.frames.frame_lookup import MissingTransformError
from vl2_ros.processing.results.rigid_transform import RigidTransform

#: Seconds for which transforms are kept, as in tf2.
CACHE_S = 10.0
#: More frames than any robot has; further ones are refused.
MOST_FRAMES = 1_000
#: Transforms of all frames together, some 70 MB; each frame keeps its share of the newest.
MOST_LINKS = 200_000
#: A longer chain of parents is a circle.
_MOST_STEPS = 1_000
#: So many transforms of one frame in a row that are older than all that is kept are a new time.
_MOST_OLD = 3
#: How far the squared length of a quaternion may lie from 1, as in tf2.
_LENGTH_TOLERANCE = 0.01
_SHOWN_FRAMES = 8

_CACHE_NS = round(CACHE_S * 1e9)


@dataclass(frozen=True, slots=True)
class Link:
    """The pose of a frame in its parent.

    Attributes:
        parent: frame that the numbers refer to.
        rotation_xyzw: unit quaternion.
        translation_m: metres.
    """

    parent: str
    rotation_xyzw: tuple[float, float, float, float]
    translation_m: tuple[float, float, float]


@dataclass(slots=True, eq=False)
class _History:
    """The links of one frame by rising stamps; a static one has one link for all times."""

    is_static: bool
    stamps_ns: list[int] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    old_count: int = 0

    def add(self, stamp_ns: int, link: Link, most: int) -> None:
        """Keep a link, and no more than `most`."""
        is_old = bool(self.stamps_ns) and stamp_ns < self.stamps_ns[-1] - _CACHE_NS
        self.old_count = self.old_count + 1 if is_old else 0
        if self.is_static or self.old_count >= _MOST_OLD:
            # A recording that starts again; tf2 would ignore it until it is where it was.
            self.stamps_ns.clear()
            self.links.clear()
        elif is_old:
            return
        index = bisect_left(self.stamps_ns, stamp_ns)
        if index < len(self.stamps_ns) and self.stamps_ns[index] == stamp_ns:
            return
        self.stamps_ns.insert(index, stamp_ns)
        self.links.insert(index, link)
        gone = bisect_left(self.stamps_ns, self.stamps_ns[-1] - _CACHE_NS)
        gone = max(gone, len(self.links) - most)
        del self.stamps_ns[:gone], self.links[:gone]

    def find(self, stamp_ns: int, frame: str) -> Link:
        if self.is_static:
            return self.links[0]
        index = bisect_left(self.stamps_ns, stamp_ns)
        if index == len(self.stamps_ns):
            late_s = (stamp_ns - self.stamps_ns[-1]) / 1e9
            raise MissingTransformError(
                f"the newest transform of frame {frame!r} is {late_s:.3f} s older than the image",
                late_s=late_s,
            )
        if self.stamps_ns[index] == stamp_ns:
            return self.links[index]
        if index == 0:
            raise MissingTransformError(
                f"the image is {(self.stamps_ns[0] - stamp_ns) / 1e9:.3f} s older than the oldest "
                f"transform of frame {frame!r}; transforms are kept for {CACHE_S:g} s"
            )
        before_ns, after_ns = self.stamps_ns[index - 1 : index + 1]
        share = (stamp_ns - before_ns) / (after_ns - before_ns)
        return _interpolate(self.links[index - 1], self.links[index], share)


class TransformTree:
    """Keeps transforms and finds the one between two frames; any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._histories: dict[str, _History] = {}
        self._frames: set[str] = set()

    def add(
        self,
        child: str,
        parent: str,
        stamp_ns: int,
        rotation_xyzw: tuple[float, float, float, float],
        translation_m: tuple[float, float, float],
        *,
        is_static: bool = False,
    ) -> None:
        """Keep the pose of a frame in its parent.

        Args:
            child: the frame; a leading slash is dropped, as in tf2.
            parent: the frame that the numbers refer to.
            stamp_ns: time of the pose; of no meaning when it is static.
            rotation_xyzw: unit quaternion.
            translation_m: metres.
            is_static: it holds at all times.

        Raises:
            InputError: if a name is empty, the two are one, or the numbers are no pose.
        """
        child, parent = child.removeprefix("/"), parent.removeprefix("/")
        if not child or not parent or child == parent:
            raise InputError(f"a transform needs two different frames, got {child!r} in {parent!r}")
        squared = sum(one * one for one in rotation_xyzw)
        # NaN fits no range.
        if not abs(squared - 1.0) <= _LENGTH_TOLERANCE or not all(
            map(math.isfinite, translation_m)
        ):
            raise InputError(
                f"the transform of {child!r} in {parent!r} is no pose: rotation {rotation_xyzw}, "
                f"translation {translation_m}; expected a unit quaternion and finite metres"
            )
        with self._lock:
            new = {child, parent} - self._frames
            if len(self._frames) + len(new) > MOST_FRAMES:
                raise InputError(
                    f"the transform of {child!r} in {parent!r} is skipped: there are {MOST_FRAMES} "
                    "frames already"
                )
            self._frames |= new
            history = self._histories.get(child)
            if history is None or history.is_static is not is_static:
                history = self._histories[child] = _History(is_static)
            most = MOST_LINKS // len(self._histories)
            history.add(stamp_ns, Link(parent, rotation_xyzw, translation_m), most)

    def find(self, target: str, source: str, stamp_ns: int) -> RigidTransform:
        """Return how points of `source` become points of `target`; see `FrameLookup.find`."""
        with self._lock:
            for frame in (target, source):
                self._check_known(frame)
            up, fault = self._climb(source, stamp_ns)
            down, other_fault = self._climb(target, stamp_ns)
        common = next((frame for frame in down if frame in up), None)
        if common is None:
            raise (
                fault
                or other_fault
                or MissingTransformError(
                    f"frames {source!r} and {target!r} are not connected by transforms"
                )
            )
        return down[common].invert().after(up[common])

    def _climb(
        self, frame: str, stamp_ns: int
    ) -> tuple[dict[str, RigidTransform], MissingTransformError | None]:
        """Return the frame's pose in itself and each of its parents, and why there is no more."""
        poses = {frame: RigidTransform.identity()}
        while (history := self._histories.get(frame)) is not None:
            try:
                link = history.find(stamp_ns, frame)
            except MissingTransformError as error:
                # The other frame may lie below.
                return poses, error
            if link.parent in poses or len(poses) > _MOST_STEPS:
                return poses, MissingTransformError(
                    f"the transforms of frame {frame!r} lead in a circle"
                )
            pose = RigidTransform.from_quaternion(link.rotation_xyzw, link.translation_m)
            poses[link.parent] = pose.after(poses[frame])
            frame = link.parent
        return poses, None

    def _check_known(self, frame: str) -> None:
        if frame in self._frames:
            return
        known = sorted(self._frames)
        names = ", ".join(known[:_SHOWN_FRAMES]) or "none"
        more = f" and {len(known) - _SHOWN_FRAMES} more" if len(known) > _SHOWN_FRAMES else ""
        raise MissingTransformError(
            f"no transform of frame {frame!r} has come; the frames that are known: {names}{more}"
        )


def _interpolate(before: Link, after: Link, share: float) -> Link:
    """Return the link between two; the older one where the parent has changed, as in tf2."""
    if before.parent != after.parent:
        return before
    start, end = np.array(before.rotation_xyzw), np.array(after.rotation_xyzw)
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    cosine = float(start @ end)
    # A quaternion and its negative are one rotation; the nearer one is the shorter way.
    end, cosine = (-end, -cosine) if cosine < 0 else (end, cosine)
    # Of the sine, as the arc cosine has no digits left near 1.
    angle = math.atan2(float(np.linalg.norm(end - cosine * start)), cosine)
    if angle > 0:
        turned = math.sin((1 - share) * angle) * start + math.sin(share * angle) * end
    else:
        turned = start
    first, last = np.array(before.translation_m), np.array(after.translation_m)
    moved = first + share * (last - first)
    x, y, z, w = (float(one) for one in turned / np.linalg.norm(turned))
    return Link(before.parent, (x, y, z, w), (float(moved[0]), float(moved[1]), float(moved[2])))
