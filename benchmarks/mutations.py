"""Small faults planted one at a time: does a test notice?  ``python benchmarks/mutations.py [--only TEXT]``

Each fault replaces one piece of text in a copy of the package; then the tests named beside it run until one fails. A
fault whose text is not found any more is reported, so that the list follows the code. About 20 minutes on one core.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

Fault = tuple[str, str, str]  # file inside the package, text, replacement

#: Tests -> faults that they have to notice.
FAULTS: dict[str, list[Fault]] = {
    "test_completion_equations.py": [
        ("settings/readings.py", "return mask, self._strength(mask, gain)", "return mask, 1.0"),
        ("settings/readings.py", "return 1.0, self._strength(mask, gain)", "return mask, self._strength(mask, gain)"),
        ("settings/readings.py", "round(self.strength * steps)", "round((1 - self.strength) * steps)"),
        ("settings/readings.py", "min(1.0, self.leakage * gain)", "self.leakage"),
        ("completion/sampler.py", "(1 + w) * with_area - w * without", "w * with_area - (w - 1) * without"),
        ("completion/sampler.py", "+ (1 - s) * x_t", "+ (1 - s) * z"),
        ("completion/condition.py", "strength * noise + (1.0 - strength) * image", "noise + (1.0 - strength) * image"),
        ("completion/condition.py", "condition.blur * len(image)", "condition.blur"),
        (
            "completion/condition.py",
            "np.where(visible[..., None], obj, background)",
            "np.where(visible[..., None], obj, obj)",
        ),
        ("completion/area.py", "F.avg_pool2d(area, factor) > 0", "F.avg_pool2d(area, factor) > 0.5"),
        ("completion/area.py", "return reach & ~visible", "return reach"),
        ("completion/backends/schedules.py", "self._noise[level] * noise", "self._noise[level - 1] * noise"),
        ("completion/backends/schedules.py", "self._signal[step + 1] * clean", "self._signal[step] * clean"),
    ],
    "test_completion_pipeline.py": [
        ("completion/pipeline.py", "np.random.default_rng([call.seed, sample])", "np.random.default_rng([call.seed])"),
        ("completion/pipeline.py", "np.random.default_rng([call.seed, sample])", "np.random.default_rng([sample])"),
        (
            "completion/pipeline.py",
            "np.random.default_rng([call.seed, sample])",
            "np.random.default_rng([call.seed, sample, i])",
        ),
        ("completion/pipeline.py", "settings.reading.pixel_noise, rng", "0.3, rng"),
        ("completion/points.py", "(2 * CLEARANCE + 1,) * 2", "(1, 1)"),
        ("completion/points.py", "feasible | outside | near", "feasible | near"),
        ("completion/judge.py", "scores * np.clip(predicted, 0.05, 1.0)", "scores"),
        ("completion/judge.py", 'predicted if judgement.choice == "predicted" else', "predicted if False else"),
        ("completion/crop.py", "out if out.any() else self._resize(window.astype(np.float32)) > 0", "out"),
        ("settings/method.py", '"guidance": GUIDANCE.get(family, 0.75)', '"guidance": 0.75'),
        ("settings/method.py", '        "samples": 1,\n        "points"', '        "points"'),
        ("settings/method.py", "self.area not in reading.areas", "False"),
        ("settings/values.py", "if key not in own:", "if False:"),
    ],
    "test_judge.py": [
        ("completion/judge.py", "(guess & mask) | (guess & scene.feasible(i, guess.box))", "guess"),
        ("completion/judge.py", "if judgement.keep_visible else shape.trim()", ""),
        ("completion/judge.py", 'cells if judgement.answer == "best" else', "cells if True else"),
        ("completion/judge.py", "max(eligible, key=", "min(eligible, key="),
        ("scene/order.py", "evidence[i, j] -= ENTRY_WEIGHT * share", "evidence[i, j] += ENTRY_WEIGHT * share"),
    ],
    "test_backends_segmenters.py": [
        ("completion/segmenters/sam.py", "* square.scale", "* 1.0"),
        ("completion/segmenters/sam2.py", "[side / width, side / height]", "[side / height, side / width]"),
        (
            "completion/segmenters/pixels.py",
            "(images.to(device, torch.float32) + 1) / 2",
            "images.to(device, torch.float32)",
        ),
    ],
    "test_scene.py": [
        ("scene/order.py", "MARGIN = 0.5", "MARGIN = 0.0"),
        ("scene/order.py", "DEPTH_MARGIN = 0.03", "DEPTH_MARGIN = 0.0"),
        ("scene/order.py", "STUFF_BULGE * bulge", "-STUFF_BULGE * bulge"),
        ("scene/order.py", "(mask_j.y + mask_j.height) - (mask_i.y + mask_i.height)", "mask_j.y - mask_i.y"),
        (
            "scene/order.py",
            "(j_in_i - i_in_j) / (j_in_i + i_in_j + length)",
            "(i_in_j - j_in_i) / (j_in_i + i_in_j + length)",
        ),
        ("scene/answer.py", "inside = self.amodal.clip(*self.frame_shape).area", "inside = self.amodal.area"),
        (
            "scene/answer.py",
            "1.0 - self.amodal.clip(*self.frame_shape).area / whole",
            "self.amodal.clip(*self.frame_shape).area / whole",
        ),
        ("scene/scene.py", "(hiding | unlabelled) & ~mine", "hiding | unlabelled"),
        ("scene/scene.py", "outside | self._cracks(i).window(*box)", "outside"),
        ("scene/scene.py", "known = guess.area - guess.overlap(feasible)", "known = guess.area"),
        ("scene/depth.py", "there > expected + margin", "there > expected - margin"),
        ("scene/depth.py", "before &= there > (1 + GROUND) * floor", "pass"),
        ("scene/depth.py", "w = inverse[y, x]\n    known", "w = np.nan_to_num(inverse[y, x])\n    known"),
        ("scene/hull.py", "np.ceil(np.minimum", "np.floor(np.minimum"),
    ],
    "test_node_pairing.py": [
        ("stream/pairing.py", "self._paired - self._slop)", "self._paired)"),
        ("stream/pairing.py", "<= self._slop]", "< self._slop]"),
        ("stream/pairing.py", "key=lambda held: abs(held.stamp - stamp))", "key=lambda held: held.stamp)"),
        ("stream/pairing.py", "now - held.arrived > self._seconds", "False"),
        ("stream/pairing.py", "while self._bytes > self._size:", "while False:"),
    ],
    "test_live_memory.py test_live_session.py": [
        ("live/track.py", "EXPLAINS = 0.6", "EXPLAINS = 0.3"),
        ("live/track.py", "FRESH, AGEING, RESIZING = 0.55, 0.01, 0.05", "FRESH, AGEING, RESIZING = 0.55, 0.0, 0.05"),
        ("live/track.py", "FRESH, AGEING, RESIZING = 0.55, 0.01, 0.05", "FRESH, AGEING, RESIZING = 0.55, 0.01, 0.0"),
        ("live/track.py", "min(self.shapes[:-1], key=", "min(self.shapes[-1:], key="),
        ("live/tracks.py", "if any(s.value(track.stamp) > worth for s in better):", "if False:"),
        ("live/following.py", "shape.strikes + 1 if shape.score < EXPLAINS else 0", "0"),
        (
            "live/following.py",
            "zip(tried, fit_outlines([m.fit(t.leader, pose) for m, t, pose in tried]))",
            "zip(tried, [pose for _, _, pose in tried])",
        ),
        ("live/following.py", "if trial.leader.score > trial.score:", "if True:"),
        ("live/colours.py", "RECOLOURED, COLOURED, COMPARABLE = 0.35", "RECOLOURED, COLOURED, COMPARABLE = 2.0"),
        ("live/following.py", "LEAP = 1.0", "LEAP = 100.0"),
        ("live/tracks.py", "track.requests.remove(request)", "track = self._tracks.get(track.id, track)"),
        ("live/priority.py", "* (waited + 0.01)", ""),
        ("live/priority.py", "FIRST_WAIT = 1.0", "FIRST_WAIT = 0.0"),
        ("live/priority.py", "LEAST_GAIN = 0.03", "LEAST_GAIN = 0.0"),
        ("live/priority.py", "or track.asked == stamp", ""),
        (
            "live/session.py",
            "Source.PROPAGATED if source is Source.INFERRED else Source.REMEMBERED",
            "Source.PROPAGATED",
        ),
    ],
    "test_live_motion.py": [
        ("live/motion.py", "self.scale * region.x + self.dx - left]", "self.scale * region.x + self.dx - left + 0.5]"),
        ("live/outline.py", "distance += half ", "distance += 0.0 "),
        ("live/outline.py", "tight.x - 0.5, tight.y - 0.5", "tight.x, tight.y"),
        ("live/motion.py", "low if abs(low) <= abs(high) else high", "low"),
    ],
    "test_live_worker.py": [
        ("live/session.py", "NICENESS = 10", "NICENESS = 0"),
        ("live/session.py", "with self._precedence.taken():", "with self._precedence.lent():"),
        (
            "live/session.py",
            "with self._precedence.lent():\n                    self._lock.wait",
            "with self._precedence.taken():\n                    self._lock.wait",
        ),
        (
            "live/session.py",
            "with self._precedence.lent():\n                self._complete",
            "with self._precedence.taken():\n                self._complete",
        ),
        ("live/precedence.py", "self._free.wait(max(0.0, self._until - time.monotonic()))", "self._free.wait()"),
        ("live/session.py", "retry = min(2 * retry, LONGEST_RETRY) if seconds is None else RETRY", "retry = 0.0"),
    ],
    "test_evaluation_metrics.py": [
        ("lab/evaluation/metrics.py", "guess, truth = guess.clip(*frame_shape), truth.clip(*frame_shape)", "pass"),
        ("lab/evaluation/metrics.py", "times @ total / (times @ size)", "times @ total / size.sum()"),
    ],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="faults and tests that have this text")
    args = parser.parse_args()
    chosen = [(t, f) for t, faults in FAULTS.items() for f in faults if args.only in " ".join([t, *f])]
    lost, unnoticed = [], []
    for tests, fault in chosen:
        outcome = noticed(tests.split(), fault)
        word = "?" if outcome is None else "noticed" if outcome else "UNNOTICED"
        print(f"{word:10} {fault[0]}: {_line(fault[1])} -> {_line(fault[2])}", flush=True)
        if outcome is None:
            lost.append(fault)
        elif not outcome:
            unnoticed.append(fault)
    tried = len(chosen) - len(lost)
    print(f"{tried - len(unnoticed)} of {tried} noticed; {len(lost)} not planted: their text is gone")
    return 1 if lost or len(unnoticed) > 0.1 * tried else 0


def noticed(tests: list[str], fault: Fault) -> bool | None:
    """Whether a test fails with the fault; None where its text is not in the file."""
    name, text, replacement = fault
    source = (ROOT / "amodal_ros" / name).read_text()
    if text not in source:
        return None
    import amodal_ros

    installed = Path(amodal_ros.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "amodal_ros"
        shutil.copytree(installed, package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        (package / name).unlink()
        (package / name).write_text(source.replace(text, replacement))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            *(str(ROOT / "test" / t) for t in tests),
        ]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{fault}: {done.stdout[-800:]}{done.stderr[-800:]}")
        return done.returncode == 1


def _line(text: str) -> str:
    return " ".join(text.split())[:70]


if __name__ == "__main__":
    sys.exit(main())
