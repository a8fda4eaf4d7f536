from __future__ import annotations

from xml.etree import ElementTree

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.transports.dds.settings import (
    LAST_DOMAIN,
    choose_domain,
    find_last_index,
    is_loopback_asked,
    make_settings,
)


def parse(environment: dict[str, str], *, loopback_only: bool = False) -> ElementTree.Element:
    return ElementTree.fromstring(make_settings(environment, loopback_only=loopback_only))


def test_processes_of_this_machine_and_of_the_network_are_found():
    tree = parse({})
    interfaces = [one.attrib for one in tree.iter("NetworkInterface")]
    assert interfaces == [
        {"autodetermine": "true"},
        {"address": "127.0.0.1", "multicast": "false"},
    ]
    assert [one.get("Address") for one in tree.iter("Peer")] == ["127.0.0.1"]
    assert tree.findtext(".//ParticipantIndex") == "auto"


def test_loopback_only_opens_no_other_interface():
    tree = parse({}, loopback_only=True)
    assert [one.get("address") for one in tree.iter("NetworkInterface")] == ["127.0.0.1"]


def test_static_peers_of_ros_are_also_used():
    tree = parse({"ROS_STATIC_PEERS": "192.0.2.7; robot.example ;"})
    peers = [one.get("Address") for one in tree.iter("Peer")]
    assert peers == ["127.0.0.1", "192.0.2.7", "robot.example"]


def test_peers_cannot_break_out_of_the_settings():
    peer = '"/><Evil a="'
    assert [one.get("Address") for one in parse({"ROS_STATIC_PEERS": peer}).iter("Peer")][1] == peer


@pytest.mark.parametrize("domain_id", [0, 101, LAST_DOMAIN])
def test_many_processes_fit_and_none_takes_ports_of_the_next_domain(domain_id):
    last = find_last_index(domain_id)
    first_port = 7400 + 250 * domain_id
    last_port = first_port + 11 + 2 * last
    assert last_port < first_port + 250 and last_port <= 65535
    assert last_port + 2 > min(first_port + 249, 65535)
    assert last == (62 if domain_id == LAST_DOMAIN else 119)
    settings = make_settings({}, loopback_only=True, domain_id=domain_id)
    assert f"<MaxAutoParticipantIndex>{last}</MaxAutoParticipantIndex>" in settings


def test_what_the_user_configures_comes_last():
    settings = make_settings({"CYCLONEDDS_URI": "file:///etc/dds.xml"}, loopback_only=False)
    assert settings.endswith("</CycloneDDS>,file:///etc/dds.xml")


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, False),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, True),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "localhost"}, True),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, True),
        ({"ROS_LOCALHOST_ONLY": "1"}, True),
        ({"ROS_LOCALHOST_ONLY": "0"}, False),
    ],
)
def test_ros_says_whether_to_stay_on_this_machine(environment, asked):
    assert is_loopback_asked(environment) is asked


@pytest.mark.parametrize(
    ("given", "environment", "chosen"),
    [(None, {}, 0), (None, {"ROS_DOMAIN_ID": " 7 "}, 7), (3, {"ROS_DOMAIN_ID": "7"}, 3)],
)
def test_domain_is_the_given_one_else_that_of_ros(given, environment, chosen):
    assert choose_domain(given, environment) == chosen


@pytest.mark.parametrize(
    ("given", "environment"), [(-1, {}), (233, {}), (None, {"ROS_DOMAIN_ID": "x"})]
)
def test_wrong_domains_are_refused(given, environment):
    with pytest.raises(ConfigError):
        choose_domain(given, environment)
