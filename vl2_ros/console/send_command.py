"""`vl2 send`: one command to a running node, and its results.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display, terminal
from vl2_ros.console.groups import Panel, complete, group_options
from vl2_ros.console.image_options import DrawOptions
from vl2_ros.console.options import AsJson, NodeAddress, Threshold, open_transport
from vl2_ros.errors import InputError, VL2Error
from vl2_ros.processing.printable import make_printable
from vl2_ros.views.answer_files import AnswerFiles, save_drawn

if TYPE_CHECKING:
    import numpy as np

    from vl2_ros.clients.received_images import ReceivedImages
    from vl2_ros.clients.received_result import ReceivedResult
    from vl2_ros.node.transport import Transport
    from vl2_ros.structures import WatchMode

#: Statuses of a last result that are an error of the command line.
_REFUSALS = ("BUSY", "EXPIRED", "INVALID", "FAILED")
#: How long a stopped command has for its last word, in seconds.
_LAST_WORD_S = 3.0


@dataclass(frozen=True, slots=True)
class Sending:
    """When a command is answered, and by which name."""

    watch: Annotated[
        float | None,
        typer.Option(
            metavar="HZ", help="Answer until Ctrl-C, at most so often a second; 0: every image."
        ),
    ] = None
    watch_mode: Annotated[
        str,
        typer.Option(
            help="How images of a watch after the first are answered: plain, exact, cached or "
            "auto; default: the node's parameter watch_mode.",
            autocompletion=complete("plain", "exact", "cached", "auto"),
        ),
    ] = ""
    camera: Annotated[str, typer.Option(help="Camera of the node; default: its first.")] = ""
    command_id: Annotated[str, typer.Option("--id", help="Id that the results carry.")] = ""
    deadline: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time until the answer is worthless; 0: the node's parameter command_deadline_s.",
        ),
    ] = 0.0
    duration: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time until a watch ends; 0: never.")
    ] = 0.0
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time to wait for the node, and for a result.")
    ] = 30.0


@group_options
def send(
    text: Annotated[str, typer.Argument(metavar="SENTENCE", help="What to ask.")],
    sending: Annotated[Sending, Panel("Command")],
    drawing: Annotated[DrawOptions, Panel("Draw")],
    address: Annotated[NodeAddress, Panel("Network")],
    threshold: Threshold = 0.0,
    save: Annotated[
        Path | None,
        typer.Option(
            help="File for the generated or edited image, else the overlay; of a watch the newest.",
            rich_help_panel="Output",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a running node what its camera sees, and print the result, or results as they come.

    vl2 send "find the red mug" --watch 5
    """
    from vl2_ros.clients.client import PerceptionClient
    from vl2_ros.node.request import Mode

    options, watch = drawing.make(), sending.watch
    watch_mode = _read_watch_mode(sending.watch_mode)
    with closing(open_transport(address, "vl2_send")) as link:
        # First, so that the node knows of it when the command comes.
        drawn = None if save is None else _receive_annotated(link, address)
        client = PerceptionClient(link, node_name=address.node_name, namespace=address.namespace)
        client.require_node(sending.timeout)
        sent = client.send(
            text,
            command_id=sending.command_id,
            mode=Mode.ASK if watch is None else Mode.WATCH,
            camera=sending.camera,
            rate_hz=watch or 0.0,
            duration_s=sending.duration,
            watch_mode=watch_mode,
            deadline_s=sending.deadline,
            score_threshold=threshold,
            image_options=options,
        )

        def show(received: ReceivedResult, *, in_full: bool) -> None:
            files = None
            if save is not None and drawn is not None:
                files = _save_received(received, save, drawn)
            _show_received(received, as_json=as_json, files=files, in_full=in_full)

        with terminal.end_quietly():
            try:
                for received in client.follow(sent, sending.timeout):
                    show(received, in_full=watch is None)
            except KeyboardInterrupt:
                client.stop(sent)
                # Its last word; leaving before it, the stop might not have been sent yet.
                for received in client.follow(sent, _LAST_WORD_S):
                    show(received, in_full=False)


def _read_watch_mode(name: str) -> WatchMode | None:
    from vl2_ros.structures import WatchMode

    modes = {mode.name.lower(): mode for mode in WatchMode}
    if name and name not in modes:
        raise InputError(f"--watch-mode must be one of {', '.join(modes)}, got {name!r}")
    return modes.get(name)


def _receive_annotated(link: Transport, address: NodeAddress) -> ReceivedImages:
    """Receive the images into which a node draws its answers, while it has subscribers."""
    from vl2_ros.clients.received_images import ReceivedImages
    from vl2_ros.node.annotated_output import ANNOTATED
    from vl2_ros.node.names import resolve_topic

    topic = resolve_topic(ANNOTATED.name, address.node_name, address.namespace)
    return ReceivedImages(link, topic, forms=("raw",), qos=ANNOTATED.qos)


def _save_received(received: ReceivedResult, path: Path, drawn: ReceivedImages) -> AnswerFiles:
    """Write the images of a result, or its overlay, which the node sends on its own time."""
    result = received.result

    def find_overlay() -> np.ndarray | None:
        stamp_ns = result.stamp_ns
        if received.status.name != "OK":
            return None
        # The node draws the newest answer of a command and skips others when it is behind.
        if not drawn.wait_for(stamp_ns, _LAST_WORD_S, or_later=True):
            return None
        image = drawn.find(stamp_ns)
        return None if image is None else image.decode().rgb

    files = save_drawn(result, path, find_overlay)
    if files == AnswerFiles() and received.status.name == "OK":
        display.show_note(f"the node sent no image with the answer; nothing was written to {path}")
    return files


def _show_received(
    received: ReceivedResult, *, as_json: bool, files: AnswerFiles | None, in_full: bool
) -> None:
    """Print one result of a command; a last one that is no answer is an error."""
    result = received.result
    is_refusal = received.is_final and received.status.name in _REFUSALS
    if as_json or not (is_refusal or in_full):
        display.print_received(received, as_json=as_json, files=files)
    elif not is_refusal:
        seconds = sum(result.stage_ms.values()) / 1e3
        display.print_answer(None, result, seconds)
        if files is not None and (named := files.name_them()):
            display.print_text(named)
    if is_refusal:
        error = f"{received.status.name.lower()}: {make_printable(received.message)}"
        if not as_json:
            raise VL2Error(error)
        # The document has it already; raised, it would be printed as a second one.
        display.show_error(error)
        raise SystemExit(2)
