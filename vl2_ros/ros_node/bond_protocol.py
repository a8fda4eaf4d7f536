"""The bond protocol of one end, without ROS: two ends signal each other that they are alive.

The protocol of ROS 2's bond packages, as Nav2's lifecycle manager and its nodes use it: both ends
send a status with the same bond id on one topic, each with an id of its own.
"""

from __future__ import annotations

import threading
import uuid
from enum import Enum, auto

#: Seconds after which unanswered heartbeats stop.
CONNECT_S = 10.0
#: Seconds without a heartbeat after which another manager may take the place of the first, where
#: it does not say itself how long it may be silent.
HEARTBEAT_TIMEOUT_S = 4.0
#: Seconds for which the end of a bond is repeated to a manager that has not confirmed it.
FAREWELL_S = 2.0


class Change(Enum):
    """Effect of a status from the other end."""

    NONE = auto()
    FORMED = auto()
    BROKEN = auto()
    CROWDED = auto()


class BondProtocol:
    """One end of a bond, the managed node's; may be used from any thread.

    Like the nodes of Nav2 it never ends the bond because the manager is silent: a node keeps
    working without one. A manager that comes late, or is started again, may still form the bond.

    Args:
        bond_id: name that both ends know, for Nav2 the node's.
    """

    def __init__(self, bond_id: str) -> None:
        self.bond_id = bond_id
        self.instance_id = ""
        self._lock = threading.Lock()
        self._is_begun = False
        self._changed_s = 0.0
        self._sister = ""
        self._sister_timeout_s = HEARTBEAT_TIMEOUT_S
        self._heard_s = 0.0
        self._former = ""

    @property
    def is_formed(self) -> bool:
        """Return whether a manager is at the other end."""
        return bool(self._sister)

    def begin(self, now_s: float) -> None:
        """Offer the bond, under a new instance id."""
        with self._lock:
            self.instance_id = str(uuid.uuid4())
            self._is_begun, self._changed_s = True, now_s
            self._sister = self._former = ""

    def end(self, now_s: float) -> bool:
        """End the bond; True when its end must be published."""
        with self._lock:
            was_begun, self._is_begun = self._is_begun, False
            if was_begun:
                self._changed_s = now_s
                self._former, self._sister = self._sister, ""
            return was_begun

    def is_beating(self, now_s: float) -> bool:
        """Return whether a heartbeat is due at the end of each period."""
        with self._lock:
            if not self._is_begun or self._former:
                return False
            return self.is_formed or now_s - self._changed_s < CONNECT_S

    def receive(
        self, bond_id: str, instance_id: str, is_active: bool, timeout_s: float, now_s: float
    ) -> tuple[Change, bool | None]:
        """Process a status.

        Args:
            bond_id: whose bond it is about.
            instance_id: of the end that sent it.
            is_active: False when it ends the bond.
            timeout_s: for how long that end may be silent; 0: it does not say.
            now_s: the time, in seconds that never go back.

        Returns:
            What has changed, and the `active` of a status to be sent at once; None: none.
        """
        with self._lock:
            if bond_id != self.bond_id or not instance_id or instance_id == self.instance_id:
                return Change.NONE, None
            if not self._is_begun:
                is_late = instance_id == self._former and now_s - self._changed_s < FAREWELL_S
                return Change.NONE, False if is_active and is_late else None
            if is_active:
                return self._hear_alive(instance_id, timeout_s, now_s)
            return self._hear_end(instance_id)

    def _hear_alive(
        self, instance_id: str, timeout_s: float, now_s: float
    ) -> tuple[Change, bool | None]:
        if instance_id == self._former:
            # It said that it has ended; this was on its way before.
            return Change.NONE, None
        if instance_id != self._sister:
            if self.is_formed and now_s - self._heard_s < self._sister_timeout_s:
                return Change.CROWDED, None
            self._sister, self._former = instance_id, ""
            self._note(timeout_s, now_s)
            return Change.FORMED, True
        self._note(timeout_s, now_s)
        return Change.NONE, None

    def _hear_end(self, instance_id: str) -> tuple[Change, bool | None]:
        if instance_id == self._sister:
            self._former, self._sister = self._sister, ""
            return Change.BROKEN, False
        # It repeats that until it has received our confirmation.
        return Change.NONE, False if instance_id == self._former else None

    def _note(self, timeout_s: float, now_s: float) -> None:
        self._heard_s = now_s
        self._sister_timeout_s = timeout_s if timeout_s > 0 else HEARTBEAT_TIMEOUT_S
