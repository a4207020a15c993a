"""`amodal`: the command line. Each command is one module, imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from amodal_ros import __version__
from amodal_ros.commands.parser import Parser
from amodal_ros.errors import remedy

#: command -> (module with ``EXAMPLES``, ``add_arguments(parser)`` and ``run(args) -> int``; what ``--help`` says of it)
COMMANDS = {
    "complete": ("amodal_ros.commands.complete", "amodal masks for the objects of one image"),
    "evaluate": ("amodal_ros.lab.evaluation.cli", "measure a model on streets, a folder or a data set"),
    "tables": ("amodal_ros.lab.evaluation.tables_cli", "tables and figures from evaluation runs"),
    "datasets": ("amodal_ros.lab.datasets.cli", "check a data set on disk"),
    "demo": (
        "amodal_ros.lab.bags.demo",
        "a bag through the node, its answers judged and drawn (needs ROS 2)",
    ),
    "bag": ("amodal_ros.lab.bags.cli", "make, play and score rosbags"),
    "view": ("amodal_ros.lab.view.cli", "look at answers in Rerun: of a bag, an image or an evaluation"),
    "report": ("amodal_ros.lab.view.report", "an evaluation or a demo as one page of HTML"),
    "lifecycle": ("amodal_ros.node.cli", "state and transitions of a running node, as ros2 lifecycle (needs ROS 2)"),
    "models": ("amodal_ros.commands.models", "list, check, download and export models"),
    "bench": ("amodal_ros.lab.bench.cli", "seconds, memory and arithmetic of a model, and what the device could do"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success; 1 for an error that the message explains; 2 for wrong usage.
    """
    argv = sys.argv[1:] if argv is None else argv
    command = next((word for word in argv if not word.startswith("-")), "")
    try:
        args = parser_for(argv).parse_args(argv)
        code = args.run(args)
        sys.stdout.flush()
        return code
    except ValueError as error:
        return _failed(command, str(error))
    except BrokenPipeError:  # the reader has seen enough, as `head` has; nothing is left to be flushed at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        a_file = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = "expected a folder, it is a file" if a_file else error.strerror
        return _failed(command, f"{error.filename}: {reason}" if error.filename else str(error))
    except ImportError as error:
        advice = remedy(error)
        if advice is None:
            raise
        choice = "[models]" in advice and command in ("complete", "evaluate")
        return _failed(command, advice + "; --model geometric does without" * choice)
    except KeyboardInterrupt:
        return 130


def _failed(command: str, reason: str) -> int:
    print(f"amodal {command}: {reason}", file=sys.stderr)
    return 1


def parser_for(argv: Sequence[str]) -> Parser:
    """The parser of a command line. Only the room of the command that it names is imported."""
    chosen = next((word for word in argv if not word.startswith("-")), None)
    parser = Parser(prog="amodal", description="Amodal masks for tracked objects.")
    parser.add_argument("--version", action="version", version=f"amodal_ros {__version__}")
    parser.add_examples(
        "amodal complete street.jpg car.png --context pole.png", "amodal demo --bag drive", "amodal complete --help"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, line) in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=line)
        if name == chosen:
            implementation = importlib.import_module(module)
            command.add_examples(*implementation.EXAMPLES)
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
