"""One participant of a DDS domain with its readers and writers, and the thread that reads.

Knows CDR bytes and DDS names, but not what messages mean or how topics are resolved.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cyclonedds.core import (
    DDSException,
    GuardCondition,
    InstanceState,
    ReadCondition,
    SampleState,
    ViewState,
    WaitSet,
)
from cyclonedds.internal import InvalidSample, dds_infinity
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

from vl2_ros.errors import TransportError
from vl2_ros.node.guarded import guarded, log_failure
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import LATCHED, PublisherInfo, Qos
from vl2_ros.transports.dds.announcement import (
    DISCOVERY_TOPIC,
    DISCOVERY_TYPE,
    make_discovery_info,
)
from vl2_ros.transports.dds.domain import join_domain, open_domain
from vl2_ros.transports.dds.errors import named_errors
from vl2_ros.transports.dds.graph import GraphReaders, KnownPublishers
from vl2_ros.transports.dds.idl_types import IdlTypes, dds_type_name
from vl2_ros.transports.dds.qos import (
    OFFERED,
    REQUESTED,
    count_lost,
    make_dds_qos,
    warn_of_mismatch,
)
from vl2_ros.transports.dds.writing import write_cdr
from vl2_ros.transports.message_types import StoreMessageTypes

_EVERYTHING = ViewState.Any | SampleState.Any | InstanceState.Any
#: Messages of one topic that are taken before the other topics have their turn.
_TAKE_AT_ONCE = 64
#: Failed rounds of the reading thread, one after the other, until it gives up, and the pause
#: after the first; each next one is twice as long, 1.3 s together.
_MOST_FAILURES = 7
_FIRST_PAUSE_S = 0.02

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Reader:
    """One incoming topic.

    Attributes:
        name: absolute.
        endpoint: the DDS reader.
        condition: true while there is something to read.
        qos: as requested.
        callback: called with each message; never raises.
        wake: makes the reading thread look.
        is_closed: it is to be deleted; only the reading thread does that.
        lost_count: messages that DDS says were lost.
    """

    name: str
    endpoint: DataReader
    condition: ReadCondition
    qos: Qos
    callback: Callable[[bytes], None]
    wake: Callable[[], None]
    is_closed: bool = False
    lost_count: int = 0

    @property
    def reliable(self) -> bool:
        """Return whether messages that are lost are sent again."""
        return self.qos.reliable

    def close(self) -> None:
        """Stop listening; a callback that has begun may still run, a second call does nothing."""
        self.is_closed = True
        self.wake()

    def release(self) -> None:
        """Delete the DDS reader, also while this object is referenced elsewhere."""
        self.is_closed = True
        del self.condition, self.endpoint


class Writer:
    """One outgoing topic."""

    def __init__(self, name: str, writer: DataWriter, log: RepeatedLog) -> None:
        self.name = name
        self.endpoint: DataWriter | None = writer
        self._log = log

    def write(self, cdr: memoryview) -> None:
        """Send CDR bytes to the current subscriptions; never waits for a receiver.

        Raises:
            TransportError: if the node has left the domain or the bytes are no such message.
        """
        endpoint = self.endpoint
        if endpoint is None:
            raise TransportError(f"topic {self.name}: nothing can be sent any more, it is closed")
        # Padded in the one copy that makes them bytes.
        padded = b"".join((cdr, bytes(-len(cdr) % 4)))
        with named_errors(f"topic {self.name} cannot be sent to"):
            try:
                write_cdr(endpoint, padded)
            except DDSException as error:
                if error.code != DDSException.DDS_RETCODE_TIMEOUT:
                    raise
                self._warn_full()

    def _warn_full(self) -> None:
        # Other processes get the message. Within this one DDS would wait for the full
        # subscription, but nothing waits here, and none of this process gets the message.
        self._log.log(
            logging.WARNING,
            f"{self.name} has a full subscription",
            "topic %s: a subscription of this process that keeps all is full; a message is lost",
            self.name,
        )

    def count_readers(self) -> int:
        """Return how many subscriptions match now."""
        endpoint = self.endpoint
        if endpoint is None:
            return 0
        status = endpoint.get_publication_matched_status()  # type: ignore[no-untyped-call]
        return int(status.current_count)

    def close(self) -> None:
        """Release the DDS writer, which keeps the participant."""
        self.endpoint = None


class Endpoints:
    """Readers and writers of one node; callbacks run one at a time on its own thread.

    Args:
        types: of the messages.
        node_path: absolute name of the node, such as `/robot/vl2`.
        domain_id: DDS domain, 0 to 232.
        environment: of the process, for the network settings.

    Raises:
        TransportError: if the domain cannot be joined.
    """

    def __init__(
        self,
        types: StoreMessageTypes,
        node_path: str,
        domain_id: int,
        environment: Mapping[str, str],
    ) -> None:
        self._types = types
        self._node_path = node_path
        self._idl = IdlTypes(types.typestore)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._failure = ""
        self._detached: set[object] = set()
        self._quiet_log = RepeatedLog(_log)
        self._topics: dict[str, Topic] = {}
        self._readers: list[Reader] = []
        self._writers: list[Writer] = []
        self._domain = open_domain(domain_id, environment)
        self._participant = join_domain(domain_id)
        self._publishers = KnownPublishers(self._participant, self._quiet_log)
        self._graph_readers = GraphReaders(self._participant, self._quiet_log, environment)
        self._gid_bytes = 0
        self._wake = GuardCondition(self._participant)
        self._waitset = WaitSet(self._participant)
        self._waitset.attach(self._wake)
        self._waitset.attach(self._publishers.condition)
        self._waitset.attach(self._graph_readers.condition)
        self._graph = self._open_writer(DISCOVERY_TOPIC, DISCOVERY_TYPE, LATCHED)
        self._thread = threading.Thread(target=self._run, name="vl2-dds-reader", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str:
        """Return why nothing is read any more; empty while it is and after `close`."""
        return self._failure

    def add_writer(self, name: str, type_name: str, qos: Qos) -> Writer:
        """Open an outgoing topic, `name` absolute.

        Raises:
            TransportError: if the topic is used with another type, or all is closed.
        """
        with self._lock:
            self._require_open(name)
            writer = self._open_writer(f"rt{name}", type_name, qos)
            self._writers.append(writer)
            self._announce()
        return writer

    def add_reader(
        self, name: str, type_name: str, qos: Qos, callback: Callable[[bytes], None]
    ) -> Reader:
        """Call `callback` with the CDR bytes of each message of a topic, `name` absolute.

        Raises:
            TransportError: if the topic is used with another type now, or all is closed.
        """
        with self._lock:
            self._require_open(name)
            dds_qos = make_dds_qos(qos, self._types.hash_type(type_name), is_reader=True)
            topic = self._open_topic(f"rt{name}", type_name)
            with named_errors(f"topic {name} cannot be subscribed"):
                endpoint = DataReader(self._participant, topic, dds_qos)
            endpoint.set_status_mask(REQUESTED)
            condition = ReadCondition(endpoint, _EVERYTHING)
            guard = guarded(callback, f"the callback of {name}", self._quiet_log)
            reader = Reader(name, endpoint, condition, qos, guard, self._look)
            self._readers.append(reader)
            self._publishers.expect(f"rt{name}", dds_type_name(type_name))
            self._waitset.attach(endpoint)
            self._waitset.attach(condition)
            self._announce()
        return reader

    def find_publishers(self, name: str) -> tuple[PublisherInfo, ...]:
        """Return the publishers of a topic that are known now, our own included."""
        with self._lock:
            return () if self._closing.is_set() else self._publishers.find(f"rt{name}")

    def close(self) -> None:
        """Leave the domain; afterwards no callback runs, unless one of them called this."""
        with self._lock:
            if not self._closing.is_set():
                self._closing.set()
                self._wake.set(True)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _require_open(self, name: str) -> None:
        if self._closing.is_set():
            reason = self._failure or "the node has left the domain"
            raise TransportError(f"topic {name} cannot be opened, {reason}")

    def _open_topic(self, dds_name: str, type_name: str) -> Topic:
        sample_type = self._idl.sample(type_name)
        known = self._topics.get(dds_name)
        if known is None or (known.data_type is not sample_type and not self._is_used(dds_name)):
            with named_errors(f"topic {dds_name} cannot be opened"):
                self._topics[dds_name] = Topic(self._participant, dds_name, sample_type)
        topic = self._topics[dds_name]
        if topic.data_type is not sample_type:
            raise TransportError(
                f"topic {dds_name.removeprefix('rt')} carries {topic.typename} in this node, "
                f"it cannot carry {type_name} too"
            )
        return topic

    def _is_used(self, dds_name: str) -> bool:
        name = dds_name.removeprefix("rt")
        is_read = any(one.name == name and not one.is_closed for one in self._readers)
        return is_read or any(one.name == name for one in self._writers)

    def _open_writer(self, dds_name: str, type_name: str, qos: Qos) -> Writer:
        dds_qos = make_dds_qos(qos, self._types.hash_type(type_name), is_reader=False)
        topic = self._open_topic(dds_name, type_name)
        with named_errors(f"topic {dds_name} cannot be advertised"):
            endpoint = DataWriter(self._participant, topic, dds_qos)
        endpoint.set_status_mask(OFFERED)
        self._waitset.attach(endpoint)
        return Writer(dds_name.removeprefix("rt"), endpoint, self._quiet_log)

    def _announce(self) -> None:
        if not self._gid_bytes:
            return
        readers = [one.endpoint.guid for one in self._readers]
        writers = [one.endpoint.guid for one in self._writers if one.endpoint]
        info = make_discovery_info(
            self._gid_bytes, self._participant.guid, self._node_path, readers, writers
        )
        self._graph.write(info)

    def _run(self) -> None:
        failures = 0
        try:
            while not self._closing.is_set():
                try:
                    self._do_round()
                    failures = 0
                except BaseException as error:
                    failures += 1
                    self._bear(error, failures)
        finally:
            self._release()

    def _do_round(self) -> None:
        self._waitset.wait(dds_infinity)
        self._update_graph()
        with self._lock:
            self._drop_closed_readers()
            readers = tuple(self._readers)
            writers = tuple(self._writers)
        for reader in readers:
            self._take(reader)
        for writer in writers:
            if writer.endpoint is not None:
                warn_of_mismatch(writer.name, writer.endpoint, self._quiet_log)

    def _bear(self, error: BaseException, failures: int) -> None:
        """Pause after a failed round; after too many of them log an error and give up."""
        log_failure(self._quiet_log, "the thread that reads DDS topics", error)
        if failures < _MOST_FAILURES:
            self._closing.wait(_FIRST_PAUSE_S * 2 ** (failures - 1))
            return
        failure = f"DDS topics cannot be read any more: {error!r}"
        # First, so that who sees the failure finds its reason in the log.
        _log.critical("%s; the node receives nothing until it is started again", failure)
        self._failure = failure
        self._closing.set()

    def _update_graph(self) -> None:
        for discovery in (self._publishers, self._graph_readers):
            discovery.update()
            if discovery.is_broken and discovery not in self._detached:
                # It would wake this thread for ever.
                self._waitset.detach(discovery.condition)
                self._detached.add(discovery)
        gid_bytes = self._graph_readers.gid_bytes
        if gid_bytes not in (0, self._gid_bytes):
            with self._lock:
                self._gid_bytes = gid_bytes
                self._announce()

    def _look(self) -> None:
        with self._lock:
            if not self._closing.is_set():
                self._wake.set(True)

    def _drop_closed_readers(self) -> None:
        closed = [one for one in self._readers if one.is_closed]
        if not self._closing.is_set():
            self._wake.set(False)
        for reader in closed:
            self._readers.remove(reader)
            self._waitset.detach(reader.condition)
            self._waitset.detach(reader.endpoint)
            reader.release()
        if closed:
            self._announce()

    def _take(self, reader: Reader) -> None:
        log, endpoint = self._quiet_log, reader.endpoint
        warn_of_mismatch(reader.name, endpoint, log)
        reader.lost_count += count_lost(reader.name, endpoint, log, is_said=reader.qos.keep_all)
        # What is left over triggers the next round.
        for sample in endpoint.take(min(reader.qos.depth, _TAKE_AT_ONCE)):
            if self._closing.is_set() or reader.is_closed:
                return
            if not isinstance(sample, InvalidSample):
                reader.callback(sample.cdr)

    def _release(self) -> None:
        """Delete every DDS entity, the participant last: others see at once that we are gone."""
        with self._lock:
            self._closing.set()
            for writer in (*self._writers, self._graph):
                writer.close()
            for reader in self._readers:
                reader.release()
            self._readers.clear()
            self._writers.clear()
            self._topics.clear()
            del self._waitset, self._wake, self._publishers, self._graph_readers
            del self._participant, self._domain
