"""The files with settings of DDS, as the middlewares read them."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[2] / "launch"
FAST = {"": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}


@pytest.mark.skipif(
    not importlib.util.find_spec("cyclonedds"), reason="dds: cyclonedds is not installed"
)
def test_cyclone_opens_a_domain_where_the_system_allows_smaller_buffers(dds_domain):
    from cyclonedds.domain import Domain, DomainParticipant

    text = (LAUNCH / "cyclonedds.xml").read_text(encoding="utf-8")
    more = text.replace('"4MB"', '"2000MB"')
    assert more != text, "more than any system allows"
    domain = Domain(dds_domain, more)
    assert DomainParticipant(dds_domain) and domain


def test_fast_dds_has_room_for_images_on_this_machine_and_over_the_network():
    root = ElementTree.parse(LAUNCH / "fastdds.xml").getroot()
    found = root.findall("./profiles/transport_descriptors/transport_descriptor", FAST)
    descriptors = {
        one.findtext("type", None, FAST): {item.tag.rpartition("}")[2]: item.text for item in one}
        for one in found
    }
    assert int(descriptors["SHM"]["segment_size"]) == 32 << 20
    buffers = [int(descriptors["UDPv4"][name]) for name in ("sendBufferSize", "receiveBufferSize")]
    assert buffers == [4 << 20, 4 << 20]
    participant = root.find("./profiles/participant", FAST)
    assert participant is not None and participant.get("is_default_profile") == "true"
    used = [one.text for one in participant.findall("./rtps/userTransports/transport_id", FAST)]
    assert used == [one["transport_id"] for one in descriptors.values()]
    assert participant.findtext("./rtps/useBuiltinTransports", None, FAST) == "false"
