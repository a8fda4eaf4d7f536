"""`vl2 hear`: the hearing node as a process, on plain DDS or on ROS 2; also beside `vl2 serve`.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from vl2_ros.console import display, ros_node, terminal
from vl2_ros.console.groups import Panel, group_options, write_options
from vl2_ros.console.options import (
    EndWithInput,
    NodeAddress,
    Remaps,
    open_transport,
    set_domain,
)
from vl2_ros.node.parameters import HearingParameters
from vl2_ros.processing.printable import make_printable

if TYPE_CHECKING:
    from vl2_ros.speech.listener import Listener, Utterance

#: Fields of `HearingParameters` that are options: `--node-name` is the node, and the others are a
#: lifecycle manager's.
HEARING_OPTIONS = tuple(
    item.name
    for item in dataclasses.fields(HearingParameters)
    if item.name not in ("node", "autostart", "bond_heartbeat_period")
)


@group_options
def hear(
    settings: Annotated[HearingParameters, Panel("Speech", only=HEARING_OPTIONS)],
    address: Annotated[NodeAddress, Panel("Network")],
    remap: Remaps = None,
    end_with_input: EndWithInput = False,
) -> None:
    """Run the hearing node: audio in, sentences to a running node, until Ctrl-C.

    vl2 hear --audio-topic /microphone/audio
    """
    settings = dataclasses.replace(settings, node=address.node_name)
    remaps = terminal.read_remaps(remap)
    with terminal.end_quietly():
        if end_with_input:
            terminal.interrupt_at_end_of_input()
        if address.transport == "ros":
            set_domain(address.domain)
            ros_node.run_hearing(
                arguments=ros_node.write_rules(remaps, address.namespace),
                node_name=name_hearing(address.node_name),
                parameters=dataclasses.asdict(settings),
            )
        else:
            _hear_dds(settings, address, remaps)


def name_hearing(node_name: str) -> str:
    """Return the name of the hearing node of a node."""
    return f"{node_name}_hearing"


def _hear_dds(settings: HearingParameters, address: NodeAddress, remaps: Mapping[str, str]) -> None:
    """Run the hearing node on plain DDS, and print one line when it hears."""
    name = name_hearing(address.node_name)
    link = open_transport(address, name, namespace=address.namespace, remap=remaps)
    node_end = terminal.NodeEnd()
    with closing(link), terminal.end_quietly():
        from vl2_ros.node.hearing.server import HearingServer, describe_heard

        with display.show_stages("loading"):
            ears = ros_node.load_ears(settings)
        server = HearingServer(
            ears,
            link,
            settings,
            node_end.note,
            lambda utterance: display.print_text(describe_heard(utterance)),
        )
        try:
            server.start()
            display.print_text(
                f"{link.resolve('~')} hears {link.resolve(settings.audio_topic)} in ROS domain "
                f"{link.domain_id} for {address.node_name}; Ctrl-C ends it"
            )
            terminal.wait_for_interrupt()
        finally:
            with terminal.ignore_signals():
                is_ended = server.stop()
            if not is_ended:
                node_end.reason = (
                    node_end.reason or "the recogniser hangs; the process ends without it"
                )
    node_end.end()


def open_hearing_process(
    settings: HearingParameters, address: NodeAddress, remaps: Mapping[str, str]
) -> AbstractContextManager[None]:
    """Hear in a process of its own while the body runs; its end ends nothing else."""
    from vl2_ros.clients.child_process import run_beside

    words = ["hear", "--end-with-input", *write_options(settings)]
    words += ["--transport", address.transport]
    words += ["--node-name", address.node_name, "--namespace", address.namespace]
    words += [] if address.domain is None else ["--domain", str(address.domain)]
    for pair in remaps.items():
        words += ["--remap", ":=".join(pair)]
    return run_beside(
        "hearing", words, lambda error: display.show_note(f"nothing is heard any more: {error}")
    )


def hear_bag(source: Path, topic: str, listener: Listener) -> list[Utterance]:
    """Hear an audio topic of a recording, and print what is not accepted.

    Args:
        source: the recording.
        topic: of the audio.
        listener: hears it.
    """
    from vl2_ros.recordings.bag_speech import hear_recording

    with display.show_progress("hearing"):
        heard = list(hear_recording(source, topic, listener))
    for utterance in heard:
        if not utterance.accepted:
            words = make_printable(repr(utterance.text))
            display.show_note(f"heard {words}: {make_printable(utterance.reason)}")
    return heard
