"""Quality of service of an endpoint to DDS policies, and what is wrong when two do not match."""

from __future__ import annotations

import logging

from cyclonedds.core import DDSStatus
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy
from cyclonedds.qos import Qos as DdsQos
from cyclonedds.sub import DataReader

from vl2_ros.node.transport import Qos

#: What an endpoint must report so that nobody waits in silence.
OFFERED = DDSStatus.OfferedIncompatibleQos
REQUESTED = DDSStatus.RequestedIncompatibleQos

# Numbers of the DDS specification, those that an endpoint of ROS 2 can get wrong.
_POLICIES = {
    2: "durability",
    4: "deadline",
    6: "ownership",
    8: "liveliness",
    11: "reliability",
    23: "data representation",
    24: "type consistency (another definition of the message)",
}
_log = logging.getLogger(__name__)


def make_dds_qos(qos: Qos, type_hash: str) -> DdsQos:
    """Return the policies of a reader or writer.

    Args:
        qos: what is asked for.
        type_hash: of the message type; without it ROS processes log a warning per endpoint.
    """
    reliability = Policy.Reliability.Reliable(0) if qos.reliable else Policy.Reliability.BestEffort
    durability = Policy.Durability.TransientLocal if qos.transient_local else None
    policies = [
        reliability,
        durability or Policy.Durability.Volatile,
        # Overwriting the oldest is also what keeps a sender from waiting for a slow receiver.
        Policy.History.KeepLast(qos.depth),
        Policy.Userdata(f"typehash={type_hash};".encode()),
        # The only encoding that ROS 2 writes, and that is read here.
        Policy.DataRepresentation(use_cdrv0_representation=True),
    ]
    if qos.transient_local:
        # Late readers get what this policy keeps, not what the history does.
        policies.append(Policy.DurabilityService(0, Policy.History.KeepLast(qos.depth), -1, -1, -1))
    return DdsQos(*policies)


def warn_of_mismatch(topic: str, endpoint: DataReader | DataWriter) -> None:
    """Log a warning if an endpoint of the other side has been refused since the last call."""
    if isinstance(endpoint, DataWriter):
        status = endpoint.get_offered_incompatible_qos_status()  # type: ignore[no-untyped-call]
        pair = "this node's publisher and a subscription"
    else:
        status = endpoint.get_requested_incompatible_qos_status()  # type: ignore[no-untyped-call]
        pair = "this node's subscription and a publisher"
    if status.total_count_change:
        number = int(status.last_policy_id)
        policy = _POLICIES.get(number, f"policy {number}")
        _log.warning(
            "topic %s: %s do not match, incompatible %s; no message passes between them until "
            "the subscription asks for less or the publisher offers more",
            topic,
            pair,
            policy,
        )
