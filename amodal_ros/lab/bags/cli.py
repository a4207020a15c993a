"""`amodal bag make|label|play|record|score`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from amodal_ros.io.options import add_colours_argument

if TYPE_CHECKING:
    from amodal_ros.lab.bags.make import BagFrame
    from amodal_ros.lab.datasets.base import Dataset

EXAMPLES = (
    "amodal bag make streets drive --seconds 10",
    "amodal bag play drive --clock",
)
VERBS = {
    "make": (
        "make a bag of frames, label maps and truth",
        "amodal bag make streets drive --seconds 10",
        "amodal bag make /data/sequence drive --images image_02/0000 --labels instances/0000",
    ),
    "label": (
        "copy a bag and add label maps: an instance segmentation model of transformers, and ids that last",
        "amodal bag label drive labelled --model facebook/mask2former-swin-tiny-coco-instance",
        "amodal bag label drive labelled --model ./my_model --classes car person --min-score 0.7",
    ),
    "play": (
        "publish a bag's messages with their recorded timing (needs ROS 2)",
        "amodal bag play drive --wait-for /camera/image_raw /segmentation/labels",
        "amodal bag play drive --loop --rate 0.5",
    ),
    "record": (
        "write what is published into a bag, until interrupted (needs ROS 2)",
        "amodal bag record answers",
        "amodal bag record answers --topics /amodal_node/instances /diagnostics --seconds 60",
    ),
    "score": (
        "compare recorded answers with recorded truth",
        "amodal bag score answers drive",
        "amodal bag score answers drive --json -",
    ),
}

#: Sources of a bag -> the options that only they have.
OPTIONS = {
    ("a folder",): ("images", "labels", "ignore_labels", "colours_are_ids"),
    ("a data set",): ("option", "skip_bad"),
    ("streets",): ("seconds", "objects", "size", "seed"),
    ("a folder", "a data set"): ("calibration",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs to the command's parser."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    adding = {"make": _add_make, "label": _add_label, "play": _add_play, "record": _add_record, "score": _add_score}
    for name, (line, *examples) in VERBS.items():
        verb = verbs.add_parser(name, help=line, description=line, epilog="\n  ".join(("examples:", *examples)))
        adding[name](verb)


def run(args: argparse.Namespace) -> int:
    """Run one verb; errors in the input are ValueError with the reason."""
    return {"make": _make, "label": _label, "play": _play, "record": _record, "score": _score}[args.verb](args)


def _add_make(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="+",
        help="a folder with images/ and labels/ (and truth/); or 'streets' (synthetic); or a data set's name and its "
        "root folder, as in 'kins ROOT'",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage format")
    parser.add_argument("--compressed", action="store_true", help="store images as JPEG (sensor_msgs/CompressedImage)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N frames")
    parser.add_argument("--calibration", type=Path, help="KITTI calibration file, or a folder with one per image")
    folder = parser.add_argument_group("folder")
    folder.add_argument("--images", default="images", help="folder of the images")
    folder.add_argument("--labels", default="labels", help="folder of the label maps")
    folder.add_argument(
        "--ignore-labels", type=int, nargs="+", default=(), metavar="ID", help="label values that become background"
    )
    add_colours_argument(folder)
    dataset = parser.add_argument_group("data set")
    dataset.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="an option of the data set, as 'amodal datasets check NAME --help' lists them: version=2019, split=train",
    )
    dataset.add_argument("--skip-bad", action="store_true", help="leave out what cannot be read")
    streets = parser.add_argument_group("streets")
    streets.add_argument("--seconds", type=float, default=20.0, help="length of the drive")
    streets.add_argument(
        "--objects", type=int, default=10, help="things along each street (a new one every 20 s); a third is in view"
    )
    streets.add_argument("--size", type=int, nargs=2, default=(1242, 375), metavar=("WIDTH", "HEIGHT"), help="pixels")
    streets.add_argument("--seed", type=int, default=0, help="another seed is another drive")
    parser.set_defaults(default=parser.get_default)


def _add_label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="bag folder with camera images")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    parser.add_argument("--model", required=True, help="folder or hub id of an instance segmentation model")
    parser.add_argument("--device", help="torch device; without it CUDA if there is one")
    parser.add_argument("--image", metavar="TOPIC", help="the images' topic, if the bag holds several")
    parser.add_argument("--labels", metavar="TOPIC", default="/segmentation/labels", help="the label maps' topic")
    parser.add_argument("--classes", nargs="+", default=(), metavar="NAME", help="only these; without it all")
    parser.add_argument("--min-score", type=float, default=0.5, help="leave out what the model is less sure of")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage format")


def _add_play(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="bag folder")
    parser.add_argument("--rate", type=float, default=1.0, help="speed, 1 as recorded")
    parser.add_argument("--loop", action="store_true", help="start again at the end, until interrupted")
    parser.add_argument("--clock", action="store_true", help="publish /clock with the recorded time, for use_sim_time")
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="only these topics")
    parser.add_argument(
        "--wait-for", nargs="+", default=(), metavar="TOPIC", help="begin once each of these has a subscriber"
    )


def _add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder to create")
    parser.add_argument(
        "--topics", nargs="+", metavar="TOPIC", help="only these; without it whatever is published, also later"
    )
    parser.add_argument("--seconds", type=float, help="end after so long")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage format")


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="bag with answers (AmodalInstanceArray)")
    parser.add_argument("truth_bag", type=Path, nargs="?", metavar="TRUTH_BAG", help="bag with the truth, if another")
    parser.add_argument("--topic", help="the answers' topic, if the bag holds several")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too; - prints only them")


def _make(args: argparse.Namespace) -> int:
    from itertools import islice

    from tqdm import tqdm

    from amodal_ros.lab.bags.files import BagError
    from amodal_ros.lab.bags.make import write_frames

    if args.limit is not None and args.limit < 1:
        raise BagError(f"--limit: expected at least 1 frame, got {args.limit}")
    frames = tqdm(islice(_frames(args), args.limit), unit=" frames", file=sys.stderr)
    count = write_frames(frames, args.out, args.rate, args.storage, args.compressed)
    print(f"{args.out}: {count} frames, {count / args.rate:.1f} s at {args.rate:g} Hz")
    return 0


def _label(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from amodal_ros.lab.bags.label import label
    from amodal_ros.segmentation.labeller import DIVISOR, Labeller
    from amodal_ros.segmentation.model import InstanceSegmenter

    labeller = Labeller(InstanceSegmenter(args.model, args.device), args.classes, args.min_score)
    with tqdm(unit=" images", file=sys.stderr) as bar:
        count, unknown = label(
            args.bag, args.out, labeller.label, args.image, args.labels, args.storage, lambda done: bar.update()
        )
    for topic in unknown:
        print(f"{topic} is left out: its type is not known here", file=sys.stderr)
    print(f"{args.out}: {count} images labelled on {args.labels}. The node reads them with")
    print(f"  instance_mask:={args.labels} label_divisor:={DIVISOR} class_names:='{json.dumps(labeller.class_names)}'")
    return 0


def _frames(args: argparse.Namespace) -> Iterator[BagFrame]:
    from amodal_ros.lab.bags import sources
    from amodal_ros.lab.bags.files import BagError

    source = "streets" if args.source == ["streets"] else "a folder" if len(args.source) == 1 else "a data set"
    for option in (name for kind, names in OPTIONS.items() if source not in kind for name in names):
        if getattr(args, option) != args.default(option):
            raise BagError(f"--{option.replace('_', '-')}: means nothing for {source}")
    if source == "streets":
        return sources.streets_frames(args.seconds, args.objects, args.rate, tuple(args.size), args.seed)
    if source == "a folder":
        return sources.folder_frames(
            args.source[0], args.images, args.labels, args.calibration, args.ignore_labels, args.colours_are_ids
        )
    if len(args.source) == 2:
        name, root = args.source
        return sources.dataset_frames(_dataset(name, root, args.option, args.skip_bad), args.calibration)
    raise BagError(f"expected a folder, 'streets', or a data set's name and root, got {' '.join(args.source)}")


def _dataset(name: str, root: str, options: list[str], skip_bad: bool) -> Dataset:
    from amodal_ros.lab.datasets.registry import dataset_class

    cls = dataset_class(name)
    parser = argparse.ArgumentParser(prog=f"amodal bag make {name}: --option", add_help=False)
    cls.add_options(parser)
    given = argparse.Namespace(root=Path(root), skip_bad=skip_bad)
    return cls.from_args(parser.parse_args([f"--{option}" for option in options], given))


def _play(args: argparse.Namespace) -> int:
    from amodal_ros.lab.bags.play import play
    from amodal_ros.node.fastdds import large_images

    os.environ.update(large_images())
    played = play(args.bag, args.rate, args.loop, args.clock, args.topics, args.wait_for)
    print(
        f"{args.bag}: {played.messages} messages in {played.seconds:.2f} s, "
        f"none later than {1000 * played.latest:.1f} ms after its time"
    )
    return 0


def _record(args: argparse.Namespace) -> int:
    from amodal_ros.lab.bags.record import record
    from amodal_ros.node.fastdds import large_images

    os.environ.update(large_images())
    counts = record(args.bag, args.topics, args.seconds, args.storage)
    for topic, count in sorted(counts.items()):
        print(f"{count:>8} {topic}")
    print(f"{args.bag}: {sum(counts.values())} messages")
    return 0 if counts else 1


def _score(args: argparse.Namespace) -> int:
    from amodal_ros.lab.bags.score import score, score_table

    result = score(args.bag, args.truth_bag, args.topic)
    text = json.dumps(result, indent=2)
    if args.json is not None and str(args.json) != "-":
        args.json.write_text(text + "\n")
    print(text if str(args.json) == "-" else score_table(result))
    return 0
