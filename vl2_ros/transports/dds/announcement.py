"""Announcement of the node in ROS 2's graph, in the layout that the processes around it read.

The global id of an endpoint has 24 bytes up to Humble and 16 from Iron on, under the same topic
and type name. Read with the other layout, 16 bytes become a list of any length, which can end a
process of Humble; so nothing is announced before it is known who reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np
from rosbags.typesys import Stores, get_typestore

from vl2_ros.transports.message_types import StoreMessageTypes

#: Topic, type and enclave by which ROS 2 maps DDS endpoints to nodes.
DISCOVERY_TOPIC = "ros_discovery_info"
DISCOVERY_TYPE = "rmw_dds_common/msg/ParticipantEntitiesInfo"
ENCLAVE = b"enclave=/;"

#: Bytes of a global id: up to Humble, and from Iron on.
OLD_GID_BYTES, GID_BYTES = 24, 16


def make_discovery_info(
    gid_bytes: int,
    participant: UUID,
    node_path: str,
    readers: Iterable[UUID],
    writers: Iterable[UUID],
) -> memoryview:
    """Return the message that lists a node's endpoints, as CDR bytes.

    Args:
        gid_bytes: `OLD_GID_BYTES` or `GID_BYTES`.
        participant: of the process.
        node_path: absolute name of the node, such as `/robot/vl2`.
        readers: its subscriptions.
        writers: its publishers.
    """
    types = _load_types(gid_bytes)

    def make_gid(guid: UUID) -> Any:
        data = np.frombuffer(guid.bytes.ljust(gid_bytes, b"\0"), np.uint8)
        return types.make("rmw_dds_common/msg/Gid", data=data)

    namespace, _, name = node_path.rpartition("/")
    node = types.make(
        "rmw_dds_common/msg/NodeEntitiesInfo",
        node_namespace=namespace or "/",
        node_name=name,
        reader_gid_seq=[make_gid(guid) for guid in readers],
        writer_gid_seq=[make_gid(guid) for guid in writers],
    )
    return types.serialize(
        types.make(DISCOVERY_TYPE, gid=make_gid(participant), node_entities_info_seq=[node])
    )


@lru_cache(maxsize=2)
def _load_types(gid_bytes: int) -> StoreMessageTypes:
    if gid_bytes == GID_BYTES:
        return StoreMessageTypes()
    return StoreMessageTypes(get_typestore(Stores.ROS2_HUMBLE))
