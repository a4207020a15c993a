"""The fault table itself, and its shortest rows: a stranger's process breaks the node, which goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from fault_table import streams  # noqa: E402
from fault_table.table import CANNOT, FAIL, PASS, CannotRun, Row, Seen, carry_out, sections  # noqa: E402


def test_whatever_a_row_raises_is_its_verdict():
    def raises(error: Exception):
        def run() -> Seen:
            raise error

        return run

    verdicts = [
        carry_out(Row("A1", "fine", True, lambda: Seen("1", "1", "1", True))),
        carry_out(Row("A1", "poor", True, lambda: Seen("1", "1", "0", False))),
        carry_out(Row("A1", "broken", True, raises(KeyError("gone")))),
        carry_out(Row("A1", "elsewhere", True, raises(CannotRun("no such device")))),
    ]
    assert [v["verdict"] for v in verdicts] == [PASS, FAIL, FAIL, CANNOT]
    assert "KeyError" in verdicts[2]["seen"] and verdicts[3]["seen"] == "no such device"


def test_sections_are_in_order():
    rows = [Row(section, "", True, lambda: Seen("", "", "", True)) for section in ("S", "E22", "B9", "B10", "A1")]
    assert [r.section for r in sections(rows)] == ["A1", "B9", "B10", "E22", "S"]


def test_the_command_names_its_rows_and_keeps_those_that_it_did_not_run(tmp_path):
    rows, document = tmp_path / "rows.json", tmp_path / "table.md"
    document.write_text("before\n<!-- table: made by benchmarks/faults.py -->\nold\n<!-- end of table -->\nafter\n")
    other = {
        "section": "S",
        "name": "a planner stopped for 5 s",
        "sent": "",
        "expected": "",
        "seen": "",
        "verdict": PASS,
    }
    rows.write_text(json.dumps({"rows": [other]}))
    command = [
        sys.executable,
        str(BENCHMARKS / "faults.py"),
        "--only",
        "G40",
        "--json",
        str(rows),
        "--table",
        str(document),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert [r["section"] for r in json.loads(rows.read_text())["rows"]] == ["G40", "S"]
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| G40 |" in text and "| PASS |" in text


def test_malformed_messages_cost_themselves_alone(monkeypatch):
    monkeypatch.setattr(streams, "FUZZ", 120)
    seen = streams.fuzz()
    assert seen.ok, seen


def test_a_node_that_was_stopped_goes_on():
    seen = streams.stopped_node()
    assert seen.ok, seen
