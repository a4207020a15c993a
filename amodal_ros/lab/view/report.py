"""`amodal report`: an evaluation or a demo as one page of HTML."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from amodal_ros.lab.bags.summary import table as summary_table
from amodal_ros.lab.evaluation.metrics import Record, ious
from amodal_ros.lab.evaluation.report import report as tables_of
from amodal_ros.lab.evaluation.runs import read_run
from amodal_ros.lab.view import page
from amodal_ros.lab.view.moments import Drive, method_of, of_run

EXAMPLES = ("amodal report run", "amodal report demo --out demo.html")
#: Cases of either kind.
CASES = 8
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
#: Fewer objects are no point of a curve.
FEWEST = 5
COMPARED = {"modal": "visible mask", "bounded_hull": "bounded hull"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of 'amodal evaluate --out', or the demo's")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; by default report.html in the folder")


def run(args: argparse.Namespace) -> int:
    """Returns 0; a folder that is neither is a ValueError."""
    if (args.folder / "settings.json").is_file():
        html = of_evaluation(args.folder)
    elif (args.folder / "summary.json").is_file():
        html = of_demo(args.folder)
    else:
        raise ValueError(f"{args.folder}: expected the folder of 'amodal evaluate --out RUN' or of the demo")
    out = args.out or args.folder / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html)
    print(f"{out}: {len(html) / 1e6:.1f} MB")
    return 0


def of_evaluation(run: Path) -> str:
    """The page of an evaluation: its figures, curves and, where masks were kept, best and worst cases."""
    settings, records, skipped = read_run([run])
    tables, _ = tables_of(settings, records, skipped)
    ours = method_of(settings)
    names = [ours, *(m for m in COMPARED if m in settings["methods"])]
    values = ious(records, names)
    hidden = np.array([0.0 < r.occlusion <= 0.8 for r in records])
    figures = {"objects": f"{len(records):,}", "frames": f"{len({r.frame for r in records}):,}"}
    for k, name in enumerate(names if hidden.any() else ()):
        figures[f"mIoU, hidden by up to 80 %: {COMPARED.get(name, 'answer')}"] = (
            f"{100 * values[hidden, k].mean():.1f} %"
        )
    sources = Counter(r.answers[ours] for r in records if ours in r.answers)
    parts = [
        page.note(f"{settings['dataset']} ({settings['protocol']}), model {settings['model']}"),
        page.cards(figures),
        page.section("Accuracy over occlusion", _curves(_over_occlusion(records, names))),
        *(page.section(t.title, page.table(t.header, t.rows), *map(page.note, t.notes)) for t in tables),
        page.section("Whence the answers come", page.shares(dict(sources.most_common()))) if sources else "",
    ]
    try:
        best, worst = (list(islice(of_run(run, best), CASES)) for best in (True, False))
    except (ValueError, OSError) as error:
        parts.append(page.section("Cases", page.note(f"none to show: {error}")))
    else:
        parts += [
            page.section("Gained most over what is visible", page.case_figures(best)),
            page.section("Worst", page.case_figures(worst)),
        ]
    if skipped:
        parts.append(page.section("Left out", page.note("; ".join(skipped))))
    return page.page(f"amodal_ros: {settings['model']} on {settings['dataset']}", *parts)


def of_demo(folder: Path) -> str:
    """The page of a demo: what became of every frame, how good and how late the answers are, and cases with truth."""
    summary = json.loads((folder / "summary.json").read_text())
    frames, latency, accuracy = summary["frames"], summary["latency_ms"], summary["accuracy"]
    figures = {"images answered": f"{frames['answered']:,} of {frames['played']:,}"}
    if latency:
        figures |= {"ms end to end, median": f"{latency['p50']:.0f}", "ms, 95 %": f"{latency['p95']:.0f}"}
    if accuracy:
        means = accuracy["bins"]["all"]["methods"]
        figures |= {
            "mIoU of the answers": f"{100 * means['answer']['mean']:.1f} %",
            "mIoU of what is visible": f"{100 * means['modal']['mean']:.1f} %",
        }
    lines = summary_table({**summary, "accuracy": None}).splitlines()
    parts = [
        page.cards(figures),
        *(page.note(f"NOT SANE: {problem}") for problem in summary["problems"]),
        page.section("What became of it", page.facts({line[:12].strip(): line[13:] for line in lines})),
        page.section("Whence the answers come", page.shares(summary["objects"]["sources"])),
    ]
    if accuracy:
        parts.append(
            page.section("Accuracy over occlusion", page.curves(_of_bins(accuracy), "hidden share", "mean IoU"))
        )
    pictures = [cv2.imread(str(path)) for path in sorted(folder.glob("overlay_*.png"))]
    parts.append(
        page.section(
            "Pictures", *(page.picture(p[..., ::-1], f"answered frame {k}") for k, p in enumerate(pictures, 1))
        )
    )
    if accuracy:
        best, worst = Drive.of(folder, image=None).cases(CASES)
        parts += [
            page.section("Gained most over what is visible", page.case_figures(best)),
            page.section("Worst", page.case_figures(worst)),
        ]
    return page.page(
        f"amodal_ros: {summary['model'].get('model', 'the node')} on {Path(summary['input']['bag']).name}", *parts
    )


def _curves(series: dict[str, list[tuple[float, float]]]) -> str:
    """Curves; where too few objects are alike for any, a line that says so."""
    if any(map(len, series.values())):
        return page.curves(series, "hidden share", "mean IoU")
    return page.note(f"no curve: no tenth of the hidden share has {FEWEST} objects")


def _over_occlusion(records: Sequence[Record], names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Mean IoU per tenth of occlusion, whole objects at 0."""
    rates, values = np.array([r.occlusion for r in records]), ious(records, names)
    groups = [(0.0, rates <= 0)]
    groups += [((low + high) / 2, (rates > low) & (rates <= high)) for low, high in pairwise(EDGES)]
    shown = [(x, group) for x, group in groups if np.count_nonzero(group) >= FEWEST]
    return {
        COMPARED.get(name, "answer"): [(x, float(values[group, k].mean())) for x, group in shown]
        for k, name in enumerate(names)
    }


def _of_bins(accuracy: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """The same from the bins of a score."""
    places = {"unoccluded": 0.0, "(0, 0.1]": 0.05, "(0.1, 0.3]": 0.2, "(0.3, 0.5]": 0.4, "(0.5, 0.8]": 0.65}
    bins = {x: accuracy["bins"][name]["methods"] for name, x in places.items() if name in accuracy["bins"]}
    methods = {"answer": "answer", **{name: line for name, line in COMPARED.items()}}
    return {line: [(x, means[name]["mean"]) for x, means in bins.items()] for name, line in methods.items()}
