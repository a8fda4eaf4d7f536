"""Convert QoS to DDS policies, and warn about endpoints that do not match."""

from __future__ import annotations

import logging

from cyclonedds.core import DDSStatus
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy
from cyclonedds.qos import Qos as DdsQos
from cyclonedds.sub import DataReader

from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import Qos

#: What an endpoint must report, as a mismatch would otherwise go unnoticed.
OFFERED = DDSStatus.OfferedIncompatibleQos
REQUESTED = DDSStatus.RequestedIncompatibleQos | DDSStatus.SampleLost | DDSStatus.SampleRejected

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


def make_dds_qos(qos: Qos, type_hash: str, *, is_reader: bool) -> DdsQos:
    """Return the policies of a reader or writer.

    Args:
        qos: as requested.
        is_reader: else a writer, which never keeps all.
        type_hash: of the message type; without it ROS processes log a warning per endpoint.
    """
    reliability = Policy.Reliability.Reliable(0) if qos.reliable else Policy.Reliability.BestEffort
    durability = Policy.Durability.TransientLocal if qos.transient_local else None
    # Overwriting the oldest is also what keeps a sender from waiting for a slow receiver.
    history = Policy.History.KeepLast(qos.depth)
    if is_reader and qos.keep_all:
        # A full reader rejects, and the sender sends again.
        history = Policy.History.KeepAll
    policies = [
        reliability,
        durability or Policy.Durability.Volatile,
        history,
        Policy.Userdata(f"typehash={type_hash};".encode()),
        # The only encoding that ROS 2 writes, and that is read here.
        Policy.DataRepresentation(use_cdrv0_representation=True),
    ]
    if is_reader and qos.keep_all:
        policies.append(Policy.ResourceLimits(max_samples=qos.depth))
    if qos.transient_local:
        # Late readers get what this policy keeps, not what the history does.
        kept = Policy.History.KeepLast(qos.kept_for_late)
        policies.append(Policy.DurabilityService(0, kept, -1, -1, -1))
    return DdsQos(*policies)


def warn_of_mismatch(topic: str, endpoint: DataReader | DataWriter, log: RepeatedLog) -> None:
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
        log.log(
            logging.WARNING,
            f"{topic} {pair} {policy}",
            "topic %s: %s do not match, incompatible %s; no message passes between them until "
            "the subscription asks for less or the publisher offers more",
            topic,
            pair,
            policy,
        )


def count_lost(topic: str, reader: DataReader, log: RepeatedLog, *, is_said: bool) -> int:
    """Return how many messages were lost since the last call, as far as DDS reports.

    A message that its sender overwrote before it was received is not known here; only a sender
    that keeps enough of them can prevent that.

    Args:
        topic: of the reader, for the log.
        reader: may also have rejected messages because it was full.
        log: takes the warnings.
        is_said: warn at all.
    """
    lost = reader.get_sample_lost_status().total_count_change  # type: ignore[no-untyped-call]
    rejected = reader.get_sample_rejected_status()  # type: ignore[no-untyped-call]
    if is_said and lost:
        log.log(
            logging.WARNING,
            f"{topic} lost",
            "topic %s: %d messages were lost on their way; let the sender be reliable and keep "
            "enough of them",
            topic,
            lost,
        )
    if is_said and rejected.total_count_change:
        log.log(
            logging.WARNING,
            f"{topic} full",
            "topic %s: messages come faster than they are read; the queue is full and the sender "
            "has to send them again",
            topic,
        )
    return int(lost)
