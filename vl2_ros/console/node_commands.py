"""The commands around a running node: ask it, listen to it, give it a camera, see it all at once.

Everything heavy is imported inside the commands, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import count as count_from
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display, terminal
from vl2_ros.console.groups import Panel, group_options, write_options
from vl2_ros.console.image_options import DrawOptions
from vl2_ros.console.options import (
    NEW_TOKENS,
    AsJson,
    Force,
    Link,
    MaxNewTokens,
    Model,
    NodeAddress,
    Threshold,
    load_model,
    open_transport,
)
from vl2_ros.console.output.demo_report import RESULTS, DemoReport
from vl2_ros.console.output.formats import FormatName, check_format, make_entry, open_format
from vl2_ros.console.speech.hear_command import hear_bag
from vl2_ros.console.speech.options import SpeechOptions, make_listener
from vl2_ros.console.view_command import DEFAULT_PORT, PageOptions, ViewPort, show_demo
from vl2_ros.errors import InputError
from vl2_ros.processing.printable import make_printable
from vl2_ros.views.formats.writer import FORMATS

if TYPE_CHECKING:
    from vl2_ros.node.request import Answer

_EMBEDDED = Path(__file__).parent.parent / "embedded"
DEMO_BAG = _EMBEDDED / "demo" / "tabletop.mcap"
DEMO_COMMANDS = _EMBEDDED / "demo" / "commands.txt"
#: Spoken ones of its sentences.
_DEMO_SPOKEN = _EMBEDDED / "demo" / "spoken"
ImageTopic = Annotated[
    str | None,
    typer.Option(
        "--topic",
        help="Image topic of the recording; default: its only one.",
        rich_help_panel="Input",
    ),
]
Images = Annotated[
    bool, typer.Option(help="Write images with the results drawn in.", rich_help_panel="Output")
]


@dataclass(frozen=True, slots=True)
class Playing:
    """How a recording becomes a camera."""

    topic: ImageTopic = None
    onto: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC",
            help="Topic to publish on; default: as recorded, else /camera/image_raw.",
        ),
    ] = None
    rate: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Images a second; default: as recorded, of images 10."),
    ] = None
    loop: Annotated[bool, typer.Option("--loop", help="Start again at the end.")] = False
    step: Annotated[
        bool, typer.Option("--step", help="Publish the next image when Enter is pressed.")
    ] = False


@group_options
def demo(
    model: Model,
    bag: Annotated[
        Path, typer.Option(help="Recording of a camera.", rich_help_panel="Input")
    ] = DEMO_BAG,
    commands: Annotated[
        Path, typer.Option(help="Text file, one sentence a line.", rich_help_panel="Input")
    ] = DEMO_COMMANDS,
    topic: ImageTopic = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the overlay images.", rich_help_panel="Output")
    ] = Path("vl2_demo"),
    format_name: FormatName = "",
    images: Images = True,
    force: Force = False,
    view: Annotated[
        bool,
        typer.Option(
            "--view",
            help="Serve a page with camera and answers until Ctrl-C, in place of writing images.",
            rich_help_panel="Page",
        ),
    ] = False,
    view_port: ViewPort = DEFAULT_PORT,
) -> None:
    """Run a camera and a node as processes, ask one sentence per image over DDS, draw the answers.

    Nothing leaves this machine: loopback only, in a ROS domain that is free. Three of the sentences
    that ship with it are spoken, and asked by ear where vl2_ros[speech] is installed.
    """
    from vl2_ros.clients.client import PerceptionClient
    from vl2_ros.clients.demo import (
        CAMERA,
        DemoProcesses,
        ask_images,
        find_free_domain,
        list_questions,
    )
    from vl2_ros.clients.demo_voice import hear_questions
    from vl2_ros.clients.received_images import ReceivedImages
    from vl2_ros.transports.dds.transport import DdsTransport

    if (out / RESULTS).exists() and not (force or view):
        raise InputError(f"{out} holds answers already; name another --out, or add --force")
    check_format(format_name, None if format_name != "yolo" else out.parent / "none", force=True)
    heard = hear_questions(terminal.read_sentences(commands), _DEMO_SPOKEN)
    for note in heard.notes:
        display.print_text(note)
    questions = list_questions(bag, heard.sentences, topic=topic)
    domain = find_free_domain()
    # Both children and the DDS library read these.
    os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    start = partial(DemoProcesses, bag, topic=topic, serve_options=write_options(model))
    if view:
        page = PageOptions(port=view_port, camera=CAMERA)
        show_demo([sentence for sentence, _ in questions], page, start, domain)
        return
    report = DemoReport(bag.name, out, format_name, with_images=images)
    with (
        terminal.hear_signals(),
        closing(DdsTransport("vl2_demo", domain_id=domain)) as transport,
        closing(start()) as children,
        display.show_progress(f"camera and node, ROS domain {domain}") as show,
    ):
        client, frames = PerceptionClient(transport), ReceivedImages(transport, CAMERA)
        answers = ask_images(
            client, frames, questions, step=children.show_next, check=children.check
        )
        for count, answer in enumerate(answers, start=1):
            report.add(answer)
            show(count, len(questions))
    if bag == DEMO_BAG:
        report.leave_input(bag)
    report.finish()


@group_options
def bag(
    source: Annotated[Path, typer.Argument(metavar="IN", help="rosbag2 folder, .mcap or .db3.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.mcap", help="Recording of the results.")],
    model: Model,
    drawing: Annotated[DrawOptions, Panel("Draw")],
    speech: Annotated[SpeechOptions, Panel("Speech")],
    command: Annotated[
        list[str] | None,
        typer.Option("--command", "-c", help="Sentence; may be repeated.", rich_help_panel="Input"),
    ] = None,
    topic: ImageTopic = None,
    audio_topic: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC",
            help="Audio topic of the recording, which is heard: what is said is asked.",
            rich_help_panel="Speech",
        ),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            metavar="HZ", help="Most images a second; 0: every image.", rich_help_panel="Input"
        ),
    ] = 0.0,
    threshold: Threshold = 0.35,
    max_new_tokens: MaxNewTokens = NEW_TOKENS,
    images: Images = True,
    format_name: FormatName = "",
    force: Force = False,
) -> None:
    """Ask about every image of a recording, and record typed results for Foxglove and ROS 2.

    vl2 bag drive.mcap --command "find the red mug" results.mcap
    """
    from vl2_ros.recordings.bag import count_images
    from vl2_ros.recordings.bag_results import BagQuestion, answer_bag, check_output
    from vl2_ros.recordings.bag_speech import BagSpeech
    from vl2_ros.structures import Command, TrackingOptions

    if not command and audio_topic is None:
        raise InputError(
            'name what is asked, such as --command "find the red mug", or what is heard, with '
            "--audio-topic"
        )
    template = Command(
        "-",
        score_threshold=threshold,
        max_new_tokens=max_new_tokens,
        image_options=drawing.make(),
        tracking=TrackingOptions(),
    )
    commands = [
        dataclasses.replace(template, text=text, id=str(index))
        for index, text in enumerate(command or ())
    ]
    # What is heard comes in later: the model's words are expected.
    spoken = BagSpeech((), template) if audio_topic is not None else None
    question = BagQuestion(commands, topic, rate, annotated=images, speech=spoken)
    check_output(source, out, overwrite=force)
    listed = out.with_name(f"{out.stem}{FORMATS[format_name]}") if format_name in FORMATS else None
    check_format(format_name, listed, force=force, option="--format")
    total = count_images(source, topic=topic) * len(commands)
    pipeline = load_model(model)
    if audio_topic is not None:
        names = (*speech.names, *pipeline.info.names)
        listener = make_listener(dataclasses.replace(speech, names=names), display.show_note)
        heard = hear_bag(source, audio_topic, listener)
        question = dataclasses.replace(question, speech=BagSpeech(heard, template))
        total += sum(utterance.accepted for utterance in heard)
    refused: list[str] = []
    with ExitStack() as stack:
        show = stack.enter_context(display.show_progress("asking"))
        writer = None
        if listed is not None:
            writer = stack.enter_context(open_format(format_name, listed, with_masks=True))
        done = count_from(1)

        def follow(answer: Answer) -> None:
            if answer.message:
                refused.append(answer.message)
            if writer is not None:
                writer.add(make_entry(answer, source, pipeline.info))
            # A watch that was spoken answers more than was counted before.
            number = next(done)
            show(number, max(number, total))

        count = answer_bag(pipeline, source, out, question, overwrite=force, on_answer=follow)
    if refused:
        display.show_note(
            f"{len(refused)} of them without an answer, the first: {make_printable(refused[0])}"
        )
    display.print_text(f"{count} results: {out.resolve()}")
    if listed is not None:
        display.print_text(f"as {format_name}: {listed.resolve()}")


@group_options
def echo(
    address: Annotated[NodeAddress, Panel("Network")],
    count: Annotated[
        int,
        typer.Option(min=0, help="End after so many results; 0: never.", rich_help_panel="Output"),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Print every result of a running node, one line each, until Ctrl-C."""
    from vl2_ros.clients.client import PerceptionClient

    link = open_transport(address, "vl2_echo")
    with closing(link), terminal.end_quietly():
        client = PerceptionClient(link, node_name=address.node_name, namespace=address.namespace)
        if not client.wait_for_node(3.0):
            display.show_note(f"no node {client.node} in ROS domain {link.domain_id} yet")
        for received in islice(client.listen(), count or None):
            display.print_received(received, as_json=as_json)


@group_options
def camera(
    word: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Recording (rosbag2 folder, .mcap, .db3), video, webcam (0, /dev/video0), address "
            "(rtsp://, http://), image, folder or pattern of images.",
        ),
    ],
    playing: Annotated[Playing, Panel("Playback")],
    network: Annotated[Link, Panel("Network")],
) -> None:
    """Publish the images of a recording, video, webcam, stream or of files, as a camera does.

    Images of a recording keep their stamps, others get the time at which they are sent.
    """
    from vl2_ros.recordings import camera_player
    from vl2_ros.sources.source import is_recording

    topic, rate = playing.topic, playing.rate
    if not is_recording(word):
        _play_source(word, playing, network)
        return
    recording = Path(word)
    link = open_transport(network, "vl2_camera")
    with closing(link), terminal.end_quietly():
        name, publish = camera_player.open_camera(link, recording, topic=topic, onto=playing.onto)
        images = camera_player.repeat_recording(recording, topic=topic, loop=playing.loop)
        display.print_text(f"{name} in ROS domain {link.domain_id}; Ctrl-C ends it")
        if playing.step:
            camera_player.step_camera(images, publish, terminal.read_steps(), rate_hz=rate)
        else:
            camera_player.play_camera(images, publish, threading.Event(), rate_hz=rate)


def _play_source(word: str, playing: Playing, network: Link) -> None:
    """Publish what is no recording."""
    from vl2_ros.clients.source_camera import CAMERA, SourceCamera, play_source
    from vl2_ros.sources.source import find_source

    if playing.topic is not None or playing.step:
        raise InputError(f"--topic and --step are for recordings; {word} is none")
    source = find_source(word)
    link = open_transport(network, "vl2_camera")
    with closing(link), terminal.end_quietly():
        camera = SourceCamera(link, playing.onto or CAMERA)
        display.print_text(f"{camera.name} in ROS domain {link.domain_id}; Ctrl-C ends it")
        play_source(
            source,
            camera.publish,
            threading.Event(),
            rate_hz=playing.rate,
            loop=playing.loop,
            on_error=lambda name, error: display.show_note(f"{name}: {error}"),
        )
