"""Rows whose fault no user can cause from outside, or that need a stand-in: their tests are the row."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from fault_table.table import ROWS, Row, Seen

REPOSITORY = Path(__file__).resolve().parents[2]


def _tests(file: str, names: str, what: str) -> Seen:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"test/{file}", "-k", names]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-100:]
    passed = re.search(r"(\d+) passed", last)
    summary = re.sub(r" in [\d.]+s.*|, \d+ deselected", "", last).strip("= ")
    return Seen(what, f"test/{file} passes", summary, done.returncode == 0 and bool(passed))


def _row(section: str, name: str, file: str, names: str, what: str, quick: bool = True) -> None:
    ROWS.append(Row(section, name, quick, lambda: _tests(file, names, what)))


_row(
    "B5",
    "every launch argument, by a stand-in as strict as launch",
    "test_launch.py",
    "argument",
    "true and false, numbers, lists, nonsense",
)
_row(
    "B6",
    "the demo's launch file without a bag, and with one",
    "test_launch.py",
    "demo",
    "the bag is missing; the bag is there",
    quick=False,
)
_row(
    "B7",
    "two cameras, and a lifecycle manager",
    "test_launch.py",
    "two_cameras or navigation or leads",
    "launch files for both",
    quick=False,
)
_row(
    "E23",
    "a model that always fails",
    "test_live_worker.py",
    "hopeless",
    "every call raises, or is skipped object by object",
)
_row(
    "E22", "a live worker that crashes", "test_live_worker.py", "crashes or nicer", "an error outside the model's call"
)
_row(
    "E24",
    "an object that cannot be prepared",
    "test_completion_pipeline.py",
    "loses_no_other or thin_mask",
    "one object of a batch breaks",
)
_row(
    "E25",
    "memory that is short for a moment",
    "test_backends_switches.py",
    "moment_without_memory or no_memory",
    "one call in a batch runs out of memory; CUBLAS, cuDNN, MPS",
)
_row(
    "F33",
    "NaN and infinity in any part of the model",
    "test_completion_pipeline.py",
    "overflows",
    "painter, encoder, segmenter",
)
