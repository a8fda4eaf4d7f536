"""DDS domains of this process: each is opened once, with settings that ROS 2 processes find."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from weakref import WeakValueDictionary

from cyclonedds.core import DDSException
from cyclonedds.domain import Domain

from vl2_ros.errors import TransportError
from vl2_ros.transports.cyclone.settings import is_loopback_asked, make_settings

_log = logging.getLogger(__name__)
# A domain goes when its last participant lets go of it.
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


def _create_domain(domain_id: int, environment: Mapping[str, str]) -> Domain | None:
    # Without any network but its own a machine has no second interface to choose.
    choices = (True,) if is_loopback_asked(environment) else (False, True)
    for loopback_only in choices:
        try:
            return Domain(domain_id, make_settings(environment, loopback_only=loopback_only))
        except DDSException as error:
            if error.code == DDSException.DDS_RETCODE_PRECONDITION_NOT_MET:
                _log.info("DDS domain %d was opened elsewhere in this process", domain_id)
                return None
            failure = error
    raise TransportError(
        f"DDS domain {domain_id} cannot be opened: {failure}; is a network interface up, and is "
        f"CYCLONEDDS_URI right ({environment.get('CYCLONEDDS_URI') or 'not set'})?"
    ) from failure
