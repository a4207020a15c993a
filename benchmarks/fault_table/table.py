"""Rows of the fault table: each is a function that breaks something and says what it saw."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

PASS, FAIL = "PASS", "FAIL"
CANNOT = "NOT RUN"  #: this machine does not let the row happen


@dataclass(frozen=True)
class Seen:
    """What a row did.

    Attributes:
        sent: what was done to the node.
        expected: what a user may rely on.
        seen: what happened, with figures.
        ok: whether that is what was expected.
    """

    sent: str
    expected: str
    seen: str
    ok: bool


class CannotRun(Exception):
    """The machine lacks what a row needs; the text says what."""


@dataclass(frozen=True)
class Row:
    """One line of the table: section letter, name, and the function behind it."""

    section: str
    name: str
    quick: bool
    run: Callable[[], Seen]

    @property
    def title(self) -> str:
        return f"{self.section}: {self.name}"


ROWS: list[Row] = []


def sections(rows: list[Row]) -> list[Row]:
    """Rows in the order of their sections: A1, A2, A10, B9 ..."""
    return sorted(rows, key=lambda r: (r.section[0], int(r.section[1:] or 0)))


def row(section: str, name: str, quick: bool = True) -> Callable[[Callable[[], Seen]], Callable[[], Seen]]:
    """Add a function to the table; `quick` rows take some seconds each."""

    def add(function: Callable[[], Seen]) -> Callable[[], Seen]:
        ROWS.append(Row(section, name, quick, function))
        return function

    return add


def carry_out(entry: Row) -> dict:
    """Run a row. Whatever it raises is a FAIL with its last line, so that the table goes on."""
    began = time.monotonic()
    try:
        seen = entry.run()
        result = {**asdict(seen), "verdict": PASS if seen.ok else FAIL}
        del result["ok"]
    except CannotRun as error:
        result = {"sent": "", "expected": "", "seen": str(error), "verdict": CANNOT}
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} (line {where.lineno} of {where.name})"
        result = {"sent": "", "expected": "", "seen": said, "verdict": FAIL}
    result["seen"] = re.sub(r"/tmp/tmp\w+/", "", " ".join(result["seen"].split()))
    seconds = round(time.monotonic() - began, 1)
    return {"section": entry.section, "name": entry.name, **result, "seconds": seconds}


def machine() -> dict[str, str | int | float]:
    """Where and when, and how busy it was besides."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "cpu": next((line.split(": ")[1] for line in lines if "model name" in line), "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "ros": os.environ.get("ROS_DISTRO", "unknown"),
        "load": round(os.getloadavg()[0], 1),
        "date": date.today().isoformat(),
    }
