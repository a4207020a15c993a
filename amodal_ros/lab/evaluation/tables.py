"""Results as tables: occlusion bins, the paper's Tables 1 and 2; each as text, Markdown or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NOT_RUN = "not run"

#: Table 1 of the paper, mIoU in percent; None where the paper has no figure.
DATASET_COLUMNS = {"coco-a": "COCO", "bsds-a": "BSDS", "kins": "KINS", "fishbowl": "FBowl", "sailvos": "SV"}
PUBLISHED_TABLE_1: tuple[tuple[str, str, tuple[float | None, ...]], ...] = (
    ("pix2gestalt", "SD2", (65.7, 82.9, 80.8, 39.2, 73.3, 52.3)),
    ("SAM", "-", (59.4, 66.6, 65.3, 40.8, 68.3, 55.9)),
    ("SAM2", "-", (60.5, 70.1, 63.1, 46.9, 65.5, 57.0)),
    ("Inpaint", "SDXL", (None, 76.5, 74.2, None, None, None)),
    ("paper", "SDXL", (71.0, 82.7, 75.6, 60.4, 73.0, 63.5)),
    ("paper", "SD1.5", (70.2, 79.9, 75.2, 58.4, 71.0, 66.6)),
    ("paper", "SD2", (66.6, 73.2, 72.6, 57.2, 72.8, 57.2)),
    ("paper", "Flux", (70.4, 75.5, 75.5, 60.2, 75.2, 65.6)),
)
#: Table 2 of the paper (COCO-A, SDXL), mIoU in percent, by the component taken away.
PUBLISHED_TABLE_2 = {
    "without leakage": 38.9,
    "without background": 70.9,
    "without area": 70.3,
    "all components": 76.5,
}
#: Whom the printed table shows paired differences to; the JSON file has all.
RIVALS = ("hull", "bounded_hull")


@dataclass(frozen=True)
class Table:
    """Rows of strings under a header; the first column is text, all others are figures."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default=())

    def text(self) -> str:
        widths = [max(len(row[k]) for row in (self.header, *self.rows)) for k in range(len(self.header))]
        lines = [
            "  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths)))
            for row in (self.header, *self.rows)
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *self.notes]) + "\n"

    def markdown(self) -> str:
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        body = "\n".join("| " + " | ".join(row) + " |" for row in lines)
        notes = "\n".join("- " + note.replace("*", "\\*") for note in self.notes)
        return f"**{self.title}**\n\n{body}\n" + (f"\n{notes}\n" if notes else "")

    def csv(self) -> str:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([self.header, *self.rows])
        return stream.getvalue()

    def render(self, form: str) -> str:
        """``"text"``, ``"markdown"`` or ``"csv"``."""
        return {"text": self.text, "markdown": self.markdown, "csv": self.csv}[form]()


def bins_table(title: str, result: Mapping) -> Table:
    """One row per occlusion bin: every method's mean IoU, and the paired differences of ours.

    Args:
        result: what `results.result` makes.
    """
    methods = result["methods"]
    others = [m for m in methods if m != "ours"]
    rivals = [m for m in RIVALS if m in methods]
    ours = "ours" in methods
    header = ["occlusion", "n", *(_marked(m, methods) for m in others)]
    if ours:
        header += [_marked("ours", methods), "95 %", "pooled", *(f"vs {m.replace('_', ' ')}" for m in rivals)]
    rows = []
    for name, bin_ in result["bins"].items():
        row = [name, str(bin_["n"]), *(percent(bin_[m]) for m in others)]
        if ours:
            row += [percent(bin_["ours"]), span(bin_["interval"]), percent(bin_["pooled"]["ours"])]
            row += [signed(bin_["differences"][m]) for m in rivals]
        rows.append(row)
    return Table(title, header, rows, notes(result))


def notes(result: Mapping) -> list[str]:
    """What a reader must know about the figures."""
    lines = [
        "mIoU in percent: mean over objects; 95 % bootstrap intervals by source object. "
        f"What counted: {result['protocol']}.",
    ]
    if any(m["sees_neighbours"] for m in result["methods"].values()):
        lines.append("* sees the neighbours' visible masks; the others see only the object's own.")
    if result.get("answers"):
        lines.append("answers: " + ", ".join(f"{k} {v}" for k, v in sorted(result["answers"].items())) + ".")
    if result["skipped"]:
        lines.append(f"{result['skipped']} bad items skipped.")
    return lines


def ablation_table(title: str, variants: Sequence[Mapping]) -> Table:
    """One row per variant, below the baselines; columns are occlusion bins and the share that the model inferred.

    Args:
        variants: what `results.result` makes, each with ``name``; all of the same objects.
    """
    baseline = variants[0]
    bins = list(baseline["bins"])
    rows = [["n", *(str(baseline["bins"][b]["n"]) for b in bins), "", ""]]
    for method in baseline["methods"]:
        if method != "ours":
            rows.append([_marked(method, baseline["methods"]), *_row(baseline, method, bins), "", ""])
    for v in variants:
        share = f"{100 * v['inferred_share']:.0f}"
        rows.append([v["name"], *_row(v, "ours", bins), share, f"{v['seconds_per_object']:.2f}"])
    return Table(title, ["variant", *bins, "inferred %", "s/object"], rows, notes({**baseline, "answers": None}))


def table_2(title: str, results: Mapping[str, Mapping], bin_name: str = "all") -> Table:
    """The paper's Table 2: each row takes one component away; ours beside the published figure (COCO-A, SDXL)."""
    parts = ("leakage", "background", "area")
    rows = []
    for name, published in PUBLISHED_TABLE_2.items():
        ticks = ["no" if name == f"without {part}" else "yes" for part in parts]
        measured = results.get(name)
        ours = percent(measured["bins"][bin_name]["ours"]) if measured else NOT_RUN
        between = span(measured["bins"][bin_name]["interval"]) if measured else ""
        rows.append([name, *ticks, f"{published:.1f}", ours, between])
    return Table(title, ["row", *parts, "paper", "ours", "95 %"], rows)


def table_1(results: Sequence[Mapping], bin_name: str = "all", aggregate: str = "mean") -> Table:
    """The paper's Table 1 with what was measured below the published figures.

    Args:
        results: what `results.result` makes, of runs on the five data sets; others are left out. Baselines come from
            the first run of a data set.
        bin_name: which occlusion bin stands in the table.
        aggregate: ``"mean"`` over objects, ``"pooled"``, or ``"frame_mean"``.
    """
    rows = [
        [f"{method} (published)", model, *("-" if f is None else f"{f:.1f}" for f in figures)]
        for method, model, figures in PUBLISHED_TABLE_1
    ]
    measured: dict[tuple[str, str, str], dict[str, float]] = {}  # (method, model, all settings) -> data set -> figure
    marked: dict[tuple[str, str, str], str] = {}
    protocols: dict[str, str] = {}
    for result in results:
        dataset, bin_ = result["dataset"], result["bins"].get(bin_name)
        if dataset not in DATASET_COLUMNS or bin_ is None:
            continue
        protocols.setdefault(dataset, f"{DATASET_COLUMNS[dataset]}: {bin_['n']} objects, {result['protocol']}")
        for method in result["methods"]:
            key = (method, *_model(result, method))
            figure = bin_[method] if aggregate == "mean" else bin_[aggregate][method]
            measured.setdefault(key, {}).setdefault(dataset, figure)
            marked[key] = _marked(method, result["methods"])
    for key, figures in sorted(measured.items(), key=lambda item: item[0][0] == "ours"):
        cells = [percent(figures[d]) if d in figures else NOT_RUN for d in DATASET_COLUMNS]
        whole = len(figures) == len(DATASET_COLUMNS)
        average = percent(sum(figures.values()) / len(figures)) if whole else NOT_RUN
        rows.append([marked[key], key[1], average, *cells])
    if not any(key[0] == "ours" for key in measured):
        rows.append(["ours", "-", *[NOT_RUN] * (1 + len(DATASET_COLUMNS))])
    how = {
        "mean": "mean over objects",
        "pooled": "sum of intersections / sum of unions",
        "frame_mean": "mean of frames",
    }
    lines = [
        f"mIoU in percent; measured rows: {how[aggregate]}, occlusion {bin_name}. Published rows: as printed.",
        "* sees the neighbours' visible masks; the others see only the object's own.",
        *protocols.values(),
    ]
    header = ["method", "model", "Avg", *DATASET_COLUMNS.values()]
    return Table("Table 1", header, rows, lines)


def _model(result: Mapping, method: str) -> tuple[str, str]:
    """What stands in the model column, and all settings as text: runs with other settings get a row of their own."""
    settings = result["methods"][method]["settings"]
    if method != "ours":
        return "-", str(settings)
    name = str(result["settings"]["model"]).rstrip("/").rsplit("/", 1)[-1]
    chosen = list(settings.get("reading", ()))
    return ", ".join([name, *chosen, f"occluders {settings['occluders']}"]), str(settings)


def _row(result: Mapping, method: str, bins: Sequence[str]) -> list[str]:
    return [percent(result["bins"][b][method]) for b in bins]


def _marked(method: str, methods: Mapping) -> str:
    return method.replace("_", " ") + ("*" if methods[method]["sees_neighbours"] else "")


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def span(interval: Sequence[float]) -> str:
    return f"[{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def signed(difference: Mapping) -> str:
    return f"{100 * difference['mean']:+.1f} {span(difference['interval'])}"
