"""The commands around a running node: ask it, listen to it, give it a camera, see it all at once.

Everything heavy is imported inside the commands, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vl2_ros.console import display, terminal
from vl2_ros.console.demo_report import DemoReport
from vl2_ros.console.image_options import make_image_options, take_image_options
from vl2_ros.console.options import (
    AsJson,
    Backend,
    Device,
    Domain,
    EngineFolder,
    MemoryBudget,
    Namespace,
    NodeName,
    Overwrite,
    Threshold,
    TransportName,
    Weights,
    Without,
    load_model,
    make_load_options,
    open_transport,
)
from vl2_ros.errors import VL2Error
from vl2_ros.processing.printable import make_printable
from vl2_ros.views.answer_files import AnswerFiles, save_images

if TYPE_CHECKING:
    from vl2_ros.clients.received_result import ReceivedResult
    from vl2_ros.node.request import Answer

#: Statuses of a last result that are an error of the command line.
_REFUSALS = ("BUSY", "EXPIRED", "INVALID", "FAILED")
#: How long a stopped command has for its last word, in seconds.
_LAST_WORD_S = 3.0
_EMBEDDED = Path(__file__).parent.parent / "embedded"
DEMO_BAG = _EMBEDDED / "demo" / "tabletop.mcap"
DEMO_COMMANDS = _EMBEDDED / "demo" / "commands.txt"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the overlay images.")] = Path("vl2_demo"),
    weights: Weights = None,
    device: Device = "auto",
    backend: Backend = "auto",
    engines: EngineFolder = None,
    bag: Annotated[Path, typer.Option(help="Any camera recording.")] = DEMO_BAG,
    commands: Annotated[Path, typer.Option(help="Text file, one sentence a line.")] = DEMO_COMMANDS,
    topic: Annotated[str | None, typer.Option(help="Image topic of the recording.")] = None,
) -> None:
    """Run a camera and a node as processes, ask over DDS, one sentence an image, draw the answers.

    Nothing leaves this machine: loopback only, in a ROS domain that is free.
    """
    from vl2_ros.clients.client import PerceptionClient
    from vl2_ros.clients.demo import (
        CAMERA,
        DemoProcesses,
        ReceivedImages,
        ask_images,
        find_free_domain,
        list_questions,
    )
    from vl2_ros.transports.dds.transport import DdsTransport

    questions = list_questions(bag, terminal.read_sentences(commands), topic=topic)
    report = DemoReport(bag.name, out)
    domain = find_free_domain()
    # Both children and the DDS library read these.
    os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    options = ["--device", device, "--backend", backend]
    for name, folder in (("--weights", weights), ("--engines", engines)):
        options += [name, str(folder)] if folder else []
    with (
        terminal.hear_signals(),
        closing(DdsTransport("vl2_demo", domain_id=domain)) as transport,
        closing(DemoProcesses(bag, topic=topic, serve_options=options)) as children,
        display.show_progress(f"camera and node, ROS domain {domain}") as show,
    ):
        client, images = PerceptionClient(transport), ReceivedImages(transport, CAMERA)
        answers = ask_images(
            client, images, questions, step=children.show_next, check=children.check
        )
        for count, answer in enumerate(answers, start=1):
            report.add(answer)
            show(count, len(questions))
    report.finish()


@take_image_options
def bag(
    source: Annotated[Path, typer.Argument(metavar="IN", help="rosbag2 folder, .mcap or .db3.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.mcap", help="Recording of the results.")],
    command: Annotated[
        list[str], typer.Option("--command", "-c", help="Sentence, may be repeated.")
    ],
    topic: Annotated[str | None, typer.Option(help="Image topic of the recording.")] = None,
    rate: Annotated[
        float, typer.Option(help="At most so many images of each second; 0: every one.")
    ] = 0.0,
    weights: Weights = None,
    device: Device = "auto",
    backend: Backend = "auto",
    engines: EngineFolder = None,
    threshold: Threshold = 0.35,
    annotated: Annotated[
        bool, typer.Option(help="Write the images with the results drawn in, too.")
    ] = True,
    overwrite: Overwrite = False,
    without: Without = None,
    memory_budget: MemoryBudget = 0.0,
    **images: Any,
) -> None:
    """Ask a recorded camera, image by image, and record typed results for Foxglove and ROS 2.

    vl2 bag drive.mcap --command "find the red mug" results.mcap
    """
    from vl2_ros.recordings.bag import count_images
    from vl2_ros.recordings.bag_results import BagQuestion, answer_bag, check_output
    from vl2_ros.structures import Command

    options = make_image_options(images)
    commands = [
        Command(text, id=str(index), score_threshold=threshold, image_options=options)
        for index, text in enumerate(command)
    ]
    question = BagQuestion(commands, topic=topic, rate_hz=rate, annotated=annotated)
    check_output(source, out, overwrite=overwrite)
    total = count_images(source, topic=topic) * len(commands)
    pipeline = load_model(
        make_load_options(
            weights, device, backend, engines, without=without or (), memory_budget_mb=memory_budget
        )
    )
    refused: list[str] = []
    with display.show_progress("asking") as show:
        done = iter(range(1, total + 1))

        def follow(answer: Answer) -> None:
            if answer.message:
                refused.append(answer.message)
            show(next(done), total)

        count = answer_bag(pipeline, source, out, question, overwrite=overwrite, on_answer=follow)
    if refused:
        display.show_note(
            f"{len(refused)} of them without an answer, the first: {make_printable(refused[0])}"
        )
    display.print_text(f"{count} results: {out.resolve()}")


@take_image_options
def send(
    text: Annotated[str, typer.Argument(metavar="SENTENCE", help="What to ask.")],
    watch: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Go on until Ctrl-C, at most so often; 0: every image."),
    ] = None,
    camera: Annotated[str, typer.Option(help="A camera of the node; its first if not named.")] = "",
    command_id: Annotated[str, typer.Option("--id", help="Comes back in the results.")] = "",
    deadline: Annotated[
        float, typer.Option(help="Seconds until the answer is worthless; 0: the node's own.")
    ] = 0.0,
    duration: Annotated[float, typer.Option(help="Seconds until a watch ends; 0: never.")] = 0.0,
    threshold: Threshold = 0.0,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the node, a result.")] = 30.0,
    save: Annotated[
        Path | None,
        typer.Option(help="Write the image that was drawn or edited; of a watch the newest."),
    ] = None,
    as_json: AsJson = False,
    node_name: NodeName = "vl2",
    namespace: Namespace = "",
    domain: Domain = None,
    transport: TransportName = "dds",
    **images: Any,
) -> None:
    """Ask a running node what its camera sees, and print the result, or results as they come.

    vl2 send "find the red mug" --watch 5
    """
    from vl2_ros.clients.client import PerceptionClient
    from vl2_ros.node.request import Mode

    options = make_image_options(images)
    with closing(open_transport(transport, "vl2_send", domain_id=domain)) as link:
        client = PerceptionClient(link, node_name=node_name, namespace=namespace)
        client.require_node(timeout)
        sent = client.send(
            text,
            command_id=command_id,
            mode=Mode.ASK if watch is None else Mode.WATCH,
            camera=camera,
            rate_hz=watch or 0.0,
            duration_s=duration,
            deadline_s=deadline,
            score_threshold=threshold,
            image_options=options,
        )
        show = partial(_show_received, as_json=as_json, save=save)
        with terminal.end_quietly():
            try:
                for received in client.follow(sent, timeout):
                    show(received, in_full=watch is None)
            except KeyboardInterrupt:
                client.stop(sent)
                # Its last word; leaving before it, the stop might not have been sent yet.
                for received in client.follow(sent, _LAST_WORD_S):
                    show(received, in_full=False)


def echo(
    count: Annotated[int, typer.Option(min=0, help="End after so many; 0: never.")] = 0,
    as_json: AsJson = False,
    node_name: NodeName = "vl2",
    namespace: Namespace = "",
    domain: Domain = None,
    transport: TransportName = "dds",
) -> None:
    """Print every result of a running node, one line each, whoever asked; until Ctrl-C."""
    from vl2_ros.clients.client import PerceptionClient

    link = open_transport(transport, "vl2_echo", domain_id=domain)
    with closing(link), terminal.end_quietly():
        client = PerceptionClient(link, node_name=node_name, namespace=namespace)
        if not client.wait_for_node(3.0):
            display.show_note(f"no node {client.node} in ROS domain {link.domain_id} yet")
        for received in islice(client.listen(), count or None):
            display.print_received(received, as_json=as_json)


def camera(
    recording: Annotated[
        Path, typer.Argument(metavar="BAG", help="rosbag2 folder, .mcap or .db3.")
    ],
    topic: Annotated[str | None, typer.Option(help="Image topic of the recording.")] = None,
    onto: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Name of the camera; else as recorded.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Images a second; else as recorded.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end.")] = False,
    step: Annotated[
        bool, typer.Option("--step", help="Hold each image until Enter is pressed.")
    ] = False,
    domain: Domain = None,
    transport: TransportName = "dds",
) -> None:
    """Play a recorded camera onto its topic, as if it were there."""
    from vl2_ros.recordings import camera_player

    link = open_transport(transport, "vl2_camera", domain_id=domain)
    with closing(link), terminal.end_quietly():
        name, publish = camera_player.open_camera(link, recording, topic=topic, onto=onto)
        images = camera_player.repeat_recording(recording, topic=topic, loop=loop)
        display.print_text(f"{name} in ROS domain {link.domain_id}; Ctrl-C ends it")
        if step:
            camera_player.hold_camera(images, publish, terminal.read_steps(), rate_hz=rate)
        else:
            camera_player.play_camera(images, publish, threading.Event(), rate_hz=rate)


def _show_received(
    received: ReceivedResult, *, as_json: bool, save: Path | None, in_full: bool
) -> None:
    """Print one result of a command; a last one that is no answer is an error."""
    result = received.result
    images = () if save is None else save_images(result, save)
    is_refusal = received.is_final and received.status.name in _REFUSALS
    if as_json or not (is_refusal or in_full):
        display.print_received(received, as_json=as_json, images=images)
    elif not is_refusal:
        seconds = sum(result.stage_ms.values()) / 1e3
        display.print_answer(None, result, seconds, AnswerFiles(None, images))
    if save is not None and not images and received.status.name == "OK":
        display.show_note(f"the answer holds no image; nothing was written to {save}")
    if is_refusal:
        raise VL2Error(f"{received.status.name.lower()}: {make_printable(received.message)}")
