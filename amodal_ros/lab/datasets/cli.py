"""`amodal datasets check NAME ROOT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from amodal_ros.commands.parser import Parser
from amodal_ros.lab.datasets.check import check, save_sheet
from amodal_ros.lab.datasets.registry import NAMES, dataset_class

EXAMPLES = (
    "amodal datasets check kins /data/kins --version 2019 --limit 100",
    "amodal datasets check folder /data/mine --sheet sheet.png",
)


def add_arguments(parser: Parser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    checking = verbs.add_parser("check", help="counts, violations, occlusion histogram, contact sheet")
    checking.add_examples(*EXAMPLES)
    names = checking.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in NAMES:
        cls = dataset_class(name)
        line = (cls.__doc__ or name).splitlines()[0]
        one = names.add_parser(name, help=line, description=line)
        if cls.has_root:
            one.add_argument("root", type=Path, metavar="ROOT")
        cls.add_options(one)
        one.add_argument("--limit", type=int, metavar="N", help="only the first N frames")
        one.add_argument("--no-images", action="store_true", help="do not decode the images")
        one.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet of random objects")
        one.add_argument("--pictures", type=int, default=24, metavar="N", help="objects on the contact sheet")
        line = f"amodal datasets check {name}" + " DIR" * cls.has_root
        one.add_examples(f"{line} --limit 100", f"{line} --sheet sheet.png")


def run(args: argparse.Namespace) -> int:
    """Returns 0 when everything could be read, 1 otherwise."""
    args.skip_bad = True  # a check counts what is bad
    dataset = dataset_class(args.name).from_args(args)
    pictures = args.pictures if args.sheet else 0
    report, sheet = check(dataset, args.limit, not args.no_images, pictures)
    print(report.text())
    if args.sheet and sheet.size:
        save_sheet(sheet, args.sheet)
        print(f"  contact sheet: {args.sheet}")
    return 1 if report.problems else 0
