"""Rows B9 and C: parameters as people write them."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import yaml

from fault_table.robot import SECOND, START, Robot
from fault_table.table import Seen, row

DEFAULTS = Path(__file__).resolve().parents[2] / "config" / "amodal.yaml"


def declared() -> dict[str, object]:
    """Every parameter with its default."""
    return yaml.safe_load(DEFAULTS.read_text())["/**"]["ros__parameters"]


@row("B9", "a misspelt parameter")
def misspelt() -> Seen:
    with Robot() as robot:
        node = robot.start("modle:=geometric")
        said = node.says("modle")
    return Seen("-p modle:=geometric", "a line that names it", said or "nothing", bool(said))


@row("B9", "a parameter file that is missing, has no ros__parameters, or holds a misspelt name")
def parameter_files() -> Seen:
    said = {}
    with tempfile.TemporaryDirectory() as folder:
        contents = {
            "missing.yaml": None,
            "bare.yaml": "max_objects: 5\n",
            "misspelt.yaml": "/**:\n  ros__parameters:\n    max_object: 5\n",
        }
        words = {"missing.yaml": "missing.yaml", "bare.yaml": "bare.yaml", "misspelt.yaml": "max_object"}
        for name, content in contents.items():
            path = Path(folder) / name
            if content is not None:
                path.write_text(content)
            with Robot() as robot:
                node = robot.start(f"--params-file {path}")
                said[name] = bool(node.says(words[name], deadline=20))
    return Seen("three parameter files", "each is named", str(said), all(said.values()))


@row("C10", "[] for every parameter at start", quick=False)
def empty_lists() -> Seen:
    good: list[str] = []
    bad: list[str] = []
    for name in declared():
        with Robot() as robot:
            node = robot.start(f"{name}:=[]") if name != "model" else robot.start(model="[]")
            ready = node.says("active: model", deadline=15) if node.wait(0) is None else ""
            named = node.lines(name)
            ended = node.wait(0.5) if not ready else None
            fine = "Traceback" not in node.log and (ready or (ended == 2 and named))
        (good if fine else bad).append(name)
    seen = f"{len(good)} active or refused by name" + (f"; not: {', '.join(bad)}" if bad else "")
    return Seen(f"{len(declared())} parameters", "active, or exit code 2 and its name", seen, not bad)


@row("C11", "a fixed parameter set to its present value while active")
def same_value() -> Seen:
    with Robot() as robot:
        robot.warm_up(robot.start())
        refused = []
        for name in declared():
            value = robot.get(name)
            result = robot.set(name, value)
            if result is None or not result.successful:
                refused.append(f"{name}: {result.reason if result else 'no answer'}")
        got = robot.ask(START + k * SECOND // 10 for k in range(5))
    seen = f"{len(declared()) - len(refused)} accepted, {got} of 5 frames answered {'; '.join(refused)[:200]}"
    return Seen(f"{len(declared())} parameters, each to its own value", "all accepted", seen, not refused and got == 5)


@row("C12", "pair_slop: 0 and device: 0")
def numbers() -> Seen:
    said = []
    for option, hint in (("pair_slop:=0", "write 0.0"), ("device:=0", "write '0'")):
        with Robot() as robot:
            node = robot.start(option)
            line = node.says(option.split(":")[0], deadline=20)
            said.append(line[-160:] if hint in line else f"without '{hint}': {line[-160:]}")
    ok = not any(text.startswith("without") for text in said)
    return Seen("pair_slop:=0, device:=0", "each names what to write", "; ".join(said), ok)


@row("C13", "a fixed parameter set while the model loads")
def while_loading() -> Seen:
    with Robot() as robot:
        node = robot.start("autostart:=false", "live:=false", model="embedded")
        robot.change("configure")
        results: list = []
        meanwhile = threading.Timer(1.0, lambda: results.append(robot.set("live", True)))
        meanwhile.start()
        active = robot.change("activate", 120)
        meanwhile.join()
        accepted, now = bool(results[0] and results[0].successful), robot.get("live")
        robot.wait_status("model", lambda s: s.get("state") == "active")
        runs_live = "budget_used" in robot.status("model")
        ended = node.popen.poll()
    ok = bool(active) and now == runs_live and ended is None
    runs = "runs" if runs_live else "does not run"
    seen = f"{'accepted' if accepted else 'refused'}; live is {now} and the node {runs} live"
    return Seen("live:=true while it loads with live:=false", "what it says is what runs", seen, ok)


@row("C14", "parameters dumped and loaded again while active")
def dump_and_load() -> Seen:
    with Robot() as robot:
        robot.warm_up(robot.start())
        before = {name: robot.get(name) for name in declared()}
        changed = robot.set("max_objects", 77)
        taken = robot.get("max_objects")
        refused = robot.set("max_objects", -1)
        after = {name: robot.get(name) for name in declared()}
    ok = changed.successful and taken == 77 and not refused.successful and after == {**before, "max_objects": 77}
    seen = f"77 {'taken' if taken == 77 else 'not taken'}, -1 refused with '{refused.reason}', others unchanged: {ok}"
    return Seen("max_objects: 77, then -1", "77 counts, -1 is refused, nothing else changes", seen, ok)
