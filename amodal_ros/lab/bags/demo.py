"""The whole graph in one command: a bag is replayed, the node answers in a process of its own, the answers are judged.

``amodal demo`` draws a synthetic drive; ``--bag`` replays a bag of your own. Everything that is
shown comes from two bags, the one that was played and the one that was recorded.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

from tqdm import tqdm

from amodal_ros.lab.bags.make import LABELS_TOPIC, write_frames
from amodal_ros.lab.bags.pictures import write_overlays, write_video
from amodal_ros.lab.bags.sources import streets_frames
from amodal_ros.lab.bags.summary import Run, summarise, table

RATE = 10.0  # Hz of the synthetic drive
#: What a demo writes into its folder, and removes there when it is run again.
FILES = ("overlay_*.png", "video.mp4", "summary.json", "node.log", "player.log")
#: A drive on which a cyclist and a pedestrian are seen whole, then hidden almost wholly, then seen again.
SEED = 6
DRIVE, ANSWERS = "drive", "answers"


EXAMPLES = (
    "amodal demo",
    "amodal demo --bag drive --image /camera/image_raw --instance-mask /segmentation/labels --out look",
    "amodal demo --bag drive --model geometric --param label_divisor:=1000",
)


def run(args: argparse.Namespace) -> int:
    """Run the demo.

    Returns:
        0 if answers came and are sane; 1 otherwise, after saying why.

    Raises:
        ValueError: the bag cannot be played, or the node does not answer.
    """
    from amodal_ros.lab.bags.replay import ReplayError  # ROS 2 only when it runs

    try:
        found = _demo(args)
    except ReplayError as error:
        raise ValueError(str(error)) from None
    for problem in found:
        print(f"amodal demo: NOT SANE: {problem}", file=sys.stderr)
    for said in _complaints(args.out / "node.log") if found else ():
        print(f"  the node said: {said}", file=sys.stderr)
    return 1 if found else 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything the demo writes")
    parser.add_argument("--model", default="embedded", help="the node's parameter model")
    parser.add_argument("--param", action="append", default=[], metavar="NAME:=VALUE", help="any parameter of the node")
    parser.add_argument("--bag", type=Path, help="replay this bag instead of a synthetic drive")
    parser.add_argument("--image", metavar="TOPIC", help="the bag's image topic, if not /camera/image_raw")
    parser.add_argument("--instance-mask", metavar="TOPIC", default=LABELS_TOPIC, help="the bag's label maps")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the synthetic drive")
    parser.add_argument(
        "--objects",
        type=int,
        default=24,
        help="things along each street (a new one every 20 s); about a third is in view at once",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="another seed is another drive")


def _demo(args: argparse.Namespace) -> list[str]:
    """Make, replay, record, report. Returns what is not sane."""
    from amodal_ros.lab.bags.replay import ANSWERS_TOPIC, DIAGNOSTICS_TOPIC, Topics, replay

    _clear(args.out, args.bag)
    bag = args.bag or _make_drive(args)
    if args.bag:
        print(f"[1/4] {bag} will be played", flush=True)
    topics = Topics.of(bag, args.image, args.instance_mask)
    print(f"[2/4] the node answers ({args.model}), {args.out / 'node.log'} has its log", flush=True)
    answers = replay(bag, topics, args.model, args.param, args.out)
    print("[3/4] comparing", flush=True)
    played = Run(bag, answers, topics.image, topics.labels, topics.camera, ANSWERS_TOPIC, DIAGNOSTICS_TOPIC)
    summary = summarise(played)
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print("[4/4] drawing", flush=True)
    write_overlays(bag, topics.image, played.arrays, args.out)
    hz = (summary["input"]["frames"] - 1) / max(summary["input"]["seconds"], 1e-3)
    write_video(bag, topics.image, played.arrays, args.out / "video.mp4", max(hz, 1.0))
    print(f"\n{table(summary)}\n\nPictures, video and summary.json are in {args.out}/. To look on:", flush=True)
    print(f"  amodal view {args.out}\n  amodal report {args.out}", flush=True)
    return summary["problems"]


def _complaints(log: Path) -> list[str]:
    """Of each kind of warning the first; that nobody publishes before and after a drive is none."""
    said = re.findall(
        r"^\[(?:WARN|ERROR)\] \[[\d.]+\] \[[^\]]*\]: (.*)$", log.read_text(errors="replace"), re.MULTILINE
    )
    kinds: dict[str, str] = {}
    for line in said:
        if "nobody publishes on it" not in line:
            kinds.setdefault(re.split(r"\d", line)[0], line)
    return [*kinds.values()]


def _clear(out: Path, bag: Path | None) -> None:
    """Remove what an earlier demo wrote, but not the bag to be played, and nothing else.

    Raises:
        ValueError: the bag is where the answers go.
    """
    out.mkdir(parents=True, exist_ok=True)
    if bag is not None and bag.resolve() == (out / ANSWERS).resolve():
        raise ValueError(f"--bag {bag}: the demo writes its answers there; choose another --out")
    shutil.rmtree(out / ANSWERS, ignore_errors=True)
    if bag is None:
        shutil.rmtree(out / DRIVE, ignore_errors=True)
    for pattern in FILES:
        for path in out.glob(pattern):
            path.unlink()


def _make_drive(args: argparse.Namespace) -> Path:
    count = round(args.seconds * RATE)
    print(f"[1/4] drawing a drive of {args.seconds:g} s", flush=True)
    frames = streets_frames(args.seconds, args.objects, RATE, seed=args.seed)
    write_frames(tqdm(frames, total=count, unit=" frames"), args.out / DRIVE, RATE)
    return args.out / DRIVE
