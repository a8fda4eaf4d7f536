"""DDS domains of this process: each is opened once, with settings that reach ROS 2 processes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from weakref import WeakValueDictionary

from cyclonedds.core import DDSException
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.qos import Policy
from cyclonedds.qos import Qos as DdsQos

from vl2_ros.errors import TransportError
from vl2_ros.transports.dds.announcement import ENCLAVE
from vl2_ros.transports.dds.errors import named_errors
from vl2_ros.transports.dds.settings import find_last_index, is_loopback_asked, make_settings

_WITHOUT_INDEX = (
    '<CycloneDDS><Domain Id="any"><Discovery><ParticipantIndex>none</ParticipantIndex>'
    "</Discovery></Domain></CycloneDDS>"
)
_log = logging.getLogger(__name__)
# A domain is closed when its last participant releases it.
_open_domains: WeakValueDictionary[int, Domain] = WeakValueDictionary()
_lock = threading.Lock()


def open_domain(domain_id: int, environment: Mapping[str, str]) -> Domain | None:
    """Return the domain for participants to keep; None if the process had it with other settings.

    Raises:
        TransportError: if no network interface serves, or CYCLONEDDS_URI is wrong.
    """
    with _lock:
        domain = _open_domains.get(domain_id)
        if domain is None:
            domain = _create_domain(domain_id, environment)
        if domain is not None:
            _open_domains[domain_id] = domain
        return domain


def join_domain(domain_id: int) -> DomainParticipant:
    """Join a domain that `open_domain` has opened.

    Raises:
        TransportError: if that fails.
    """
    with named_errors(f"DDS domain {domain_id} cannot be joined"):
        return DomainParticipant(domain_id, DdsQos(Policy.Userdata(ENCLAVE)))


def _create_domain(domain_id: int, environment: Mapping[str, str]) -> Domain | None:
    # Without any network but its own a machine has no second interface to choose.
    choices = (True,) if is_loopback_asked(environment) else (False, True)
    failure: Exception | None = None
    for loopback_only in choices:
        settings = make_settings(environment, loopback_only=loopback_only, domain_id=domain_id)
        try:
            return Domain(domain_id, settings)
        except UnicodeEncodeError as error:
            raise TransportError(
                f"DDS domain {domain_id} cannot be opened: expected plain ASCII in CYCLONEDDS_URI "
                f"and ROS_STATIC_PEERS, got {settings[error.start : error.end]!r}"
            ) from error
        except DDSException as error:
            if error.code == DDSException.DDS_RETCODE_PRECONDITION_NOT_MET:
                _log.info("DDS domain %d was opened elsewhere in this process", domain_id)
                return None
            failure = error
            if _is_full(domain_id, settings):
                raise _make_full_error(domain_id) from error
    raise TransportError(
        f"DDS domain {domain_id} cannot be opened: {failure}; is a network interface up, and is "
        f"CYCLONEDDS_URI right ({environment.get('CYCLONEDDS_URI') or 'not set'})?"
    ) from failure


def _is_full(domain_id: int, settings: str) -> bool:
    """Return whether settings fail for lack of a participant index, which DDS does not report."""
    try:
        Domain(domain_id, f"{settings},{_WITHOUT_INDEX}")
    except DDSException:
        return False
    return True


def _make_full_error(domain_id: int) -> TransportError:
    most = find_last_index(domain_id)
    return TransportError(
        f"DDS domain {domain_id} cannot be joined: expected a free participant index, but other "
        f"processes of this machine have them all (up to {most} can be in one domain, fewer where "
        "CYCLONEDDS_URI lowers MaxAutoParticipantIndex); end some of them, or use another domain "
        "with --domain or ROS_DOMAIN_ID"
    )
