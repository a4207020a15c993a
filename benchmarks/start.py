"""How long a robot waits after starting the node: until it is active, for the first answer, for the model's first say.

    ./env python benchmarks/start.py [--runs 3] [--model embedded]

The node is a process of its own with a default environment; a camera in this process shows an object behind another at
10 Hz all the while. Seconds since the process was started, and the processor time that it took until it was active.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))  # ./env keeps a script's own folder off the path

from fault_table import frames
from fault_table.robot import START, Robot
from fault_table.table import machine

from amodal_ros.scene import Source

RATE, WIDTH, HEIGHT, DEADLINE = 10, 640, 480, 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", default="embedded")
    args = parser.parse_args()
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}")
    print(f"{'active':>8} {'processor':>10} {'first answer':>13} {'first of the model':>19}")
    for _ in range(args.runs):
        active, processor, first, model = started(args.model)
        print(f"{active:>8.1f} {processor:>10.1f} {first:>13.1f} {model:>19.1f}", flush=True)


def started(model: str) -> tuple[float, float, float, float]:
    """Seconds until active, of its processor until then, until the first answer, and the first by the model."""
    rgb, labels = frames.picture(WIDTH, HEIGHT), frames.label_map(WIDTH, HEIGHT)
    active = processor = first = 0.0
    with Robot() as robot:
        began = time.monotonic()
        node = robot.start(model=model)
        for k in range(round(DEADLINE * RATE)):
            time.sleep(max(0.0, began + k / RATE - time.monotonic()))
            stamp = START + k * 1_000_000_000 // RATE
            robot.send(stamp, frames.message(stamp, rgb, "rgb8"), frames.message(stamp, labels, "16UC1"))
            if not active and node.lines("active:"):
                active, processor = time.monotonic() - began, _processor_seconds(node.popen.pid)
            for at, array in list(robot.answers):
                first = first or at - began
                if any(i.source in (Source.INFERRED, Source.PROPAGATED) for i in array.instances):
                    return active, processor, first, at - began
            robot.answers.clear()
    raise RuntimeError(f"no answer of the model within {DEADLINE:.0f} s")


def _processor_seconds(process: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
