"""What command lines ask about label maps. Imports nothing heavy."""

from __future__ import annotations

import argparse


def add_colours_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--colours-are-ids",
        action="store_true",
        help="every colour of an RGB label map is an object (id = R + 256 G + 65536 B), even where it looks like a "
        "drawing of classes",
    )
