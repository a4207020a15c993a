"""`amodal tables`: tables and figures from evaluation runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from amodal_ros.lab.evaluation.metrics import BINS
from amodal_ros.lab.evaluation.report import report
from amodal_ros.lab.evaluation.runs import read_run
from amodal_ros.lab.evaluation.tables import Table, table_1

_SUFFIXES = {"text": "txt", "markdown": "md", "csv": "csv"}

EXAMPLES = (
    "amodal tables run --format markdown",
    "amodal tables run other_run --bin all --out tables",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="finished runs; none: the published table")
    parser.add_argument("--format", choices=tuple(_SUFFIXES), default="text")
    parser.add_argument("--bin", choices=tuple(BINS), default="all", metavar="BIN", help="Table 1's occlusion bin")
    parser.add_argument("--aggregate", choices=("mean", "pooled", "frame_mean"), default="mean", help="Table 1's mIoU")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write every table in every form, and figures")


def run(args: argparse.Namespace) -> int:
    """Returns 0; a run that is missing or unfinished raises ValueError."""
    tables: list[Table] = []
    results = []
    for path in args.runs:
        run_tables, figures = report(*read_run([path]))
        tables += run_tables
        if "ablation" not in figures:
            results.append(figures)
    tables.append(table_1(results, args.bin, args.aggregate))
    print("\n".join(table.render(args.format) for table in tables))
    if args.out:
        _write(args, tables, results)
    return 0


def _write(args: argparse.Namespace, tables: list[Table], results: list[dict]) -> None:
    from amodal_ros.lab.evaluation.plots import bars, over_occlusion

    args.out.mkdir(parents=True, exist_ok=True)
    for form, suffix in _SUFFIXES.items():
        (args.out / f"tables.{suffix}").write_text("\n".join(table.render(form) for table in tables))
    if results:
        bars(results, args.bin, args.out / "bars.png")
    for path in args.runs:
        settings, records, _ = read_run([path])
        title = f"{settings['dataset']}, {settings['protocol']}"
        over_occlusion(title, records, list(settings["methods"]), args.out / f"occlusion-{path.resolve().name}.png")
