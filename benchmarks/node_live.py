"""The node on a long drive at camera rate, with the model working behind the answers and without: what does it cost?

    python benchmarks/node_live.py --json benchmarks/node_live.json

Each run is a whole demo: the node, the player and the recorder as processes of their own. Latencies of the four
quarters of the drive show whether anything piles up. Each run says how fast the processor was meanwhile (`pace.py`). A
run whose summary.json is in --out already is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent))  # ./env keeps a script's own folder off the path

from pace import paced, told

from amodal_ros.lab.bags.demo import ANSWERS, DRIVE
from amodal_ros.lab.bags.replay import ANSWERS_TOPIC, DIAGNOSTICS_TOPIC, Topics
from amodal_ros.lab.bags.summary import Run

#: The node's parameters by run; the first makes the drive.
RUNS = {"live": (), "worker off": ("--param", "live_budget:=0.0")}
PACE = "pace.json"
KEPT = ("frames", "objects", "occlusion", "age_ms", "completions", "latency_ms", "stages_ms", "problems")


def main() -> None:
    args = _arguments()
    drive = args.out / "live" / DRIVE
    runs = {}
    for name, options in RUNS.items():
        folder = args.out / name.replace(" ", "_")
        source = ("--bag", drive) if runs else ("--seconds", args.seconds, "--objects", args.objects)
        if not (folder / "summary.json").exists():
            command = [sys.executable, "-m", "amodal_ros.cli", "demo", "--out", folder, "--model", args.model]
            with paced() as pace:
                subprocess.run([*map(str, (*command, *source, *options))], check=True)
            (folder / PACE).write_text(json.dumps(pace))
        runs[name] = _figures(folder, drive)
        print(f"{name:12} pace {json.dumps(runs[name]['pace_ms'])}, {json.dumps(runs[name]['latency_ms'])}", flush=True)
    live, off = (runs[name]["latency_ms"] for name in RUNS)
    summary = json.loads((args.out / "live" / "summary.json").read_text())
    result = {
        "machine": summary["machine"],
        "model": args.model,
        "objects_per_frame": summary["objects"]["answered"] / summary["frames"]["answered"],
        "ratio": {q: live[q] / off[q] for q in ("p50", "p95", "p99")},
        "runs": runs,
    }
    args.json.write_text(json.dumps(result, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--objects", type=int, default=32, help="along each street; about a third is in view at once")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, default=Path("build/node_live"), help="folder for the runs")
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


def _figures(folder: Path, drive: Path) -> dict:
    summary = json.loads((folder / "summary.json").read_text())
    topics = Topics.of(drive)
    run = Run(drive, folder / ANSWERS, topics.image, topics.labels, topics.camera, ANSWERS_TOPIC, DIAGNOSTICS_TOPIC)
    quarters = [1e3 * float(np.percentile(part, 95)) for part in np.array_split(run.latencies, 4)]
    bins = summary["accuracy"]["bins"]
    accuracy = {name: {k: bins[name]["methods"][k]["mean"] for k in ("answer", "bounded_hull")} for name in bins}
    played = run.arrivals.values()
    pace = told(json.loads((folder / PACE).read_text()), min(played), max(played))
    return {
        **{key: summary[key] for key in KEPT},
        "pace_ms": pace,
        "latency_p95_ms_by_quarter": quarters,
        "mIoU": accuracy,
    }


if __name__ == "__main__":
    main()
