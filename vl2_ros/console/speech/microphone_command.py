"""`vl2 microphone`: the audio topic of a microphone, or of a file in its place.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from typing import Annotated

import typer

from vl2_ros.console import display, terminal
from vl2_ros.console.groups import Panel, group_options
from vl2_ros.console.options import Link, open_transport
from vl2_ros.console.speech.source import open_source


@group_options
def microphone(
    network: Annotated[Link, Panel("Network")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="WAV or FLAC file, or - for a WAV stream on standard input; default: the "
            "microphone.",
            show_default=False,
        ),
    ] = "",
    device: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Number or a part of the name of the microphone; default: that of the system.",
            rich_help_panel="Input",
        ),
    ] = "",
    channels: Annotated[
        int, typer.Option(min=1, help="Channels of the microphone.", rich_help_panel="Input")
    ] = 1,
    onto: Annotated[
        str,
        typer.Option(metavar="TOPIC", help="Topic to publish on.", rich_help_panel="Network"),
    ] = "/audio",
) -> None:
    """Publish a microphone as an audio topic, or a file or stream in its place.

    vl2 microphone question.wav --onto /audio
    """
    from vl2_ros.clients.microphone import Microphone

    with terminal.end_quietly(), closing(open_source(source, device, channels)) as chunks:
        # Read now, so that a wrong source is refused before anything is published.
        first = next(chunks)
        with closing(open_transport(network, "vl2_microphone")) as link:
            there = Microphone(link, onto)
            display.print_text(f"{there.name} in ROS domain {link.domain_id}; Ctrl-C ends it")
            there.play(chain([first], chunks))
