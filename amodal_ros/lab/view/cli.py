"""`amodal view`: look at a bag's answers, at what `amodal complete` wrote, or at an evaluation, in Rerun."""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amodal_ros.lab.bags.make import IMAGE_TOPIC
from amodal_ros.messages import nanoseconds

if TYPE_CHECKING:
    from amodal_ros.lab.view.moments import Drive

EXAMPLES = (
    "amodal view demo",
    "amodal view drive answers --save drive.rrd",
    "amodal view out",
    "amodal view run --limit 20",
    "amodal view --live --image /camera/image_raw",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        type=Path,
        nargs="?",
        metavar="WHAT",
        help="a bag; the demo's folder; what 'amodal complete --out' wrote; or a run of 'amodal evaluate --save-masks'",
    )
    parser.add_argument("answers_bag", type=Path, nargs="?", metavar="ANSWERS", help="bag with the answers, if another")
    parser.add_argument("--save", type=Path, metavar="FILE.rrd", help="write a recording and open no window")
    parser.add_argument("--live", action="store_true", help="follow a running node, until Ctrl-C (needs ROS 2)")
    parser.add_argument("--seconds", type=float, help="with --live: end after so long")
    parser.add_argument("--image", metavar="TOPIC", help="the bag's image topic, if there are several")
    parser.add_argument("--answers", metavar="TOPIC", help="the answers' topic, if there are several")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images; of a run the N worst objects")
    parser.add_argument(
        "--trace", type=int, metavar="ID", help="also one object's way through the method, done again by --model"
    )
    parser.add_argument("--at", type=float, metavar="SECONDS", default=0.0, help="when, from the bag's first image on")
    parser.add_argument("--model", default="embedded", help="what --trace runs")


def run(args: argparse.Namespace) -> int:
    """Returns 0; what cannot be shown is a ValueError that says why."""
    from amodal_ros.lab.view import drawing, moments

    if (args.what is None) != args.live:
        raise ValueError("expected either WHAT to look at, or --live")
    if args.save is not None:
        args.save.parent.mkdir(parents=True, exist_ok=True)
    title, count = "live" if args.live else args.what.resolve().name, 0
    if args.live:
        with drawing.Drawing(title, args.save, drawing.drive_blueprint()) as shown:
            stamp = 0  # what the node says of itself belongs to the latest image, whatever its clock
            heard = _followed(args)
            for message, said in heard:
                if message is not None:
                    stamp = nanoseconds(message.header.stamp)
                    shown.moment(count, moments.of_messages(message, said))
                    count += 1
                elif stamp:
                    shown.said(stamp, said)
                if count == args.limit:
                    break
            heard.close()
        what = "images"
    elif (args.what / "completions.json").is_file():
        with drawing.Drawing(title, args.save, drawing.picture_blueprint()) as shown:
            shown.moment(0, moments.of_completions(args.what))
        count, what = 1, "image"
    elif (args.what / "settings.json").is_file():
        with drawing.Drawing(title, args.save, drawing.cases_blueprint()) as shown:
            for count, case in enumerate(islice(moments.of_run(args.what), args.limit or 50), 1):
                shown.case(count - 1, case)
        what = "objects, worst first"
    else:
        drive = moments.Drive.of(args.what, args.answers_bag, args.image, args.answers)
        shown_moments = islice(drive.moments(), args.limit)
        first = next(shown_moments, None)
        if first is None:
            raise ValueError(f"{args.what}: no image to show")
        blueprint = drawing.drive_blueprint(first.image.shape[:2], args.trace is not None)
        with drawing.Drawing(title, args.save, blueprint) as shown:  # the images last: they take longest to load
            for cloud in drive.clouds():
                shown.cloud(cloud)
            if (camera := drive.camera()) is not None:
                shown.camera(*camera)
            for stamp, message in drive.diagnostics():
                shown.said(stamp, message)
            if args.trace is not None:
                shown.figure("trace", trace(drive, args.trace, args.at, args.model))
            for count, moment in enumerate(chain([first], shown_moments), 1):
                shown.moment(count - 1, moment)
        what = "images"
    size = f", {args.save.stat().st_size / 1e6:.1f} MB: rerun {args.save}" if args.save else ""
    print(f"{count} {what}{size}")
    return 0


def _followed(args: argparse.Namespace) -> Generator[tuple[Any, Any], None, None]:
    from amodal_ros.lab.bags.follow import follow
    from amodal_ros.node.fastdds import large_images

    os.environ.update(large_images())
    return follow(args.image or IMAGE_TOPIC, args.answers or "/amodal_node/instances", args.seconds)


def trace(drive: Drive, number: int, seconds: float, model: str) -> np.ndarray:
    """One object's way through the method in the frame at `seconds`, as one figure: RGB uint8.

    Raises:
        ValueError: no such object in that frame, or nothing can hide it.
    """
    from amodal_ros.completion import AmodalPipeline
    from amodal_ros.completion.trace import draw_trace
    from amodal_ros.scene import Scene

    first, chosen = None, None
    for moment in drive.moments():
        if moment.stamp is not None and moment.answers is not None:
            first, chosen = first or moment.stamp, moment
            if (moment.stamp - first) * 1e-9 >= seconds:
                break
    if chosen is None:
        raise ValueError("--trace: no image was answered")
    ids = [answer.instance.id for answer in chosen.answers or []]
    if number not in ids:
        raise ValueError(f"--trace {number}: expected an object of the frame at {seconds:g} s, {ids}")
    scene = Scene(chosen.image, [answer.instance for answer in chosen.answers or []])
    (done,) = AmodalPipeline.from_pretrained(model).complete(scene, which=[ids.index(number)], trace=True)
    if done.trace is None:
        raise ValueError(f"--trace {number}: the model is not asked, since it is {done.source} at {seconds:g} s")
    return draw_trace(done.trace)
