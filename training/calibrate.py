"""Makes the judge's constants: ``python -m training.calibrate --objects DIR``; minutes on a small machine.

Streets of the training range and real objects pasted over each other are answered by geometry and completed by the
model; their truth is exact. Fitted are, each by a logistic regression on a few named signs:

* how probable it is that a pixel is hidden (`amodal_ros.completion.hidden`),
* which IoU an answer can expect, completed (`amodal_ros.completion.judge`) or geometric (`amodal_ros.scene.worth`).

A third of the images is kept apart: the reliability figure is drawn on it, and on it is measured how much of what is
hidden `possible` holds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from amodal_ros.completion import AmodalPipeline, hidden, judge
from amodal_ros.lab.datasets import streets
from amodal_ros.scene import MaskRegion, Scene, calibration, worth
from training.pastes import object_files, paste

#: Scenes of these seeds: of the training range, far from where training begins.
FIRST_SEED = 500_000_000
#: Of the pixels' weight so much belongs to streets, the rest to real objects: the world is not drawn.
STREETS = 0.25
#: Pixels of one object that are looked at.
PIXELS = 300
#: One image in so many is kept apart.
APART = 3


@dataclass(frozen=True)
class Case:
    """One image with truth: the first `len(amodal)` things of the scene have it."""

    scene: Scene
    amodal: tuple[MaskRegion, ...]
    kind: str
    apart: bool


@dataclass
class Example:
    """One answer for one thing of a case, and how good it was.

    Attributes:
        verdict: of the model's answer; None for a geometric one.
        amodal, signs: the answer and what tells its worth.
        iou: with the truth; outside the frame, too.
    """

    case: Case
    thing: int
    verdict: judge.Verdict | None
    amodal: MaskRegion
    signs: np.ndarray
    iou: float = 0.0

    def __post_init__(self) -> None:
        self.iou = self.amodal.iou(self.truth)

    @property
    def truth(self) -> MaskRegion:
        return self.case.amodal[self.thing]


# --- images with truth ------------------------------------------------------------------------------------------


def cases(objects: Path, scenes: int, pastes: int) -> Iterator[Case]:
    """Streets and pastes in turn, each with all labels, and again with half of them gone and anything hiding."""
    files = object_files(objects)
    for k in range(max(scenes, pastes)):
        apart = k % APART == APART - 1
        if k < scenes:
            yield from _street(k, apart)
        if k < pastes:
            made = paste(files, np.random.default_rng(k))
            yield from _twice(made.image, made.visible, made.amodal, "paste", k, apart)


def _street(k: int, apart: bool) -> Iterator[Case]:
    """A street: labels with poles and trees or without, exact or a pixel off."""
    frame = streets.scene(FIRST_SEED + k)
    seen = [i for i in frame.instances("all" if k % 4 == 3 else "things", noise=k % 2) if i.visible.area >= 100]
    yield from _twice(
        frame.image, [i.visible for i in seen], [frame.truth(i.id).amodal for i in seen], "street", k, apart
    )


def _twice(
    image: np.ndarray, visible: Sequence[MaskRegion], amodal: Sequence[MaskRegion], kind: str, seed: int, apart: bool
) -> Iterator[Case]:
    known = len(amodal)
    yield Case(Scene(image, visible[:known], visible[known:]), tuple(amodal), kind, apart)
    rng = np.random.default_rng(seed)
    kept = [k for k in range(len(visible)) if rng.random() < 0.5]
    things, stuff = [k for k in kept if k < known], [k for k in kept if k >= known]
    if things:
        scene = Scene(image, [visible[k] for k in things], [visible[k] for k in stuff], occluders="any")
        yield Case(scene, tuple(amodal[k] for k in things), kind, apart)


# --- fits -------------------------------------------------------------------------------------------------------


def logistic(signs: np.ndarray, share: np.ndarray, weight: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """Weights of a logistic regression with a ridge on the standardised signs (not on the first, the constant).

    Args:
        signs: float (n, k); the first column is 1.
        share: what is to be predicted, (n,) in [0, 1].
        weight: of each row, (n,).
    """
    mean, spread = signs.mean(0), signs.std(0) + 1e-9
    mean[0], spread[0] = 0.0, 1.0
    z = (signs - mean) / spread
    penalty = ridge * np.r_[1e-6, np.ones(z.shape[1] - 1)]
    found = np.zeros(z.shape[1])
    for _ in range(50):
        predicted = calibration.sigmoid(z @ found)
        slope = z.T @ (weight * (share - predicted)) - penalty * found
        curvature = (z * (weight * predicted * (1 - predicted))[:, None]).T @ z + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        found += step
        if np.abs(step).max() < 1e-6:
            break
    found = found / spread
    found[0] -= (found[1:] * mean[1:]).sum()
    return found


def balanced(kinds: Sequence[object]) -> np.ndarray:
    """Weights with mean 1 that let every kind count alike."""
    _, kind, count = np.unique([str(k) for k in kinds], return_inverse=True, return_counts=True)
    return len(kind) / len(count) / count[kind]


# --- the three regressions and the reach ---------------------------------------------------------------------------


def completed(pipeline: AmodalPipeline, case: Case) -> list[judge.Verdict | None]:
    """The model's verdict on every thing of a case that has truth; None where it need not be asked."""
    results = pipeline.complete(case.scene, which=range(len(case.amodal)), on_error="skip", answer="best", trace=True)
    return [done.trace.verdict if done is not None and done.trace is not None else None for done in results]


def fit_hidden(verdicts: Sequence[tuple[Case, int, judge.Verdict]]) -> np.ndarray:
    """How probable it is that a pixel is hidden. Every object counts alike, whatever its size; streets by `STREETS`."""
    rng = np.random.default_rng(0)
    rows, hidden_pixels, weights, kinds = [], [], [], []
    for case, thing, verdict in verdicts:
        view = verdict.view
        told, truth = hidden.signs(view, verdict.logits), verdict.crop.mask(case.amodal[thing])[view.open]
        if not len(told):
            continue
        picked = rng.choice(len(told), min(PIXELS, len(told)), replace=False)
        size = max(np.count_nonzero(view.visible), np.count_nonzero(truth))
        rows.append(told[picked])
        hidden_pixels.append(truth[picked])
        weights.append(np.full(len(picked), len(told) / len(picked) / size))
        kinds += [case.kind] * len(picked)
    weight = np.concatenate(weights)
    street = np.array(kinds) == "street"
    for group, share in ((street, STREETS), (~street, 1.0 - STREETS)):
        weight[group] *= share * len(weight) / max(1e-9, weight[group].sum())
    return logistic(np.concatenate(rows), np.concatenate(hidden_pixels).astype(float), weight, ridge=3.0)


def judge_again(verdict: judge.Verdict, thing: int, pipeline: AmodalPipeline) -> judge.Verdict:
    """The same completion under the present constants."""
    judgement = pipeline.changed(answer="best").judgement
    return judge.judged(verdict.scene, thing, verdict.crop, verdict.logits, judgement)


def fit_worth(examples: Sequence[Example]) -> np.ndarray:
    """The IoU that an answer can expect, from its signs."""
    weight = balanced([example.case.kind for example in examples])
    return logistic(np.stack([e.signs for e in examples]), np.array([e.iou for e in examples]), weight)


def held(examples: Sequence[Example]) -> tuple[float, float]:
    """How much of an object's hidden pixels `possible` holds (mean), and its area in units of the object's (median).

    The first of objects of which more than 2 % is hidden or outside the frame.
    """
    shares, areas = [], []
    for e in examples:
        region, scene = e.case.scene.possible(e.thing, e.amodal), e.case.scene
        missing = e.truth - scene.masks[e.thing]
        areas.append(region.area / e.truth.area)
        if missing.area > 0.02 * e.truth.area:
            shares.append(missing.overlap(region) / missing.area)
    return float(np.mean(shares)), float(np.median(areas))


# --- what came of it -----------------------------------------------------------------------------------------------


def reliability(expected: np.ndarray, actual: np.ndarray, groups: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Means of expected and actual IoU per decile of the expected one."""
    parts = np.array_split(np.argsort(expected), groups)
    return np.array([expected[p].mean() for p in parts]), np.array([actual[p].mean() for p in parts])


def draw(examples: dict[str, tuple[np.ndarray, np.ndarray]], file: Path) -> None:
    """The reliability figure: expected against actual IoU per decile."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.5, 4.5))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    for name, (expected, actual) in examples.items():
        axes.plot(*reliability(expected, actual), marker="o", label=f"{name}, n = {len(actual)}")
    axes.set(xlim=(0.2, 1), ylim=(0.2, 1), xlabel="expected IoU", ylabel="IoU with the truth")
    axes.legend()
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def write(name: str, values: dict[str, float]) -> None:
    """Puts one group of constants into the file that ships, and lets it count at once."""
    known = json.loads(calibration.FILE.read_text()) if calibration.FILE.exists() else {}
    known[name] = {key: round(float(value), 4) for key, value in values.items()}
    calibration.FILE.write_text(json.dumps(known, indent=2) + "\n")
    calibration.forget()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, metavar="DIR", help="whole objects with label maps")
    parser.add_argument("--model", default="embedded", help="name, profile or folder")
    parser.add_argument("--scenes", type=int, default=24, help="streets")
    parser.add_argument("--pastes", type=int, default=240, help="images of pasted objects")
    parser.add_argument("--figure", type=Path, default=Path("docs/images/reliability.png"), metavar="PNG")
    args = parser.parse_args()
    pipeline = AmodalPipeline.from_pretrained(args.model)
    made = list(cases(args.objects, args.scenes, args.pastes))
    asked = [
        (case, thing, verdict)
        for case in tqdm(made, desc="completions", mininterval=5)
        for thing, verdict in enumerate(completed(pipeline, case))
        if verdict is not None
    ]
    write("hidden pixel", dict(zip(hidden.SIGNS, fit_hidden([a for a in asked if not a[0].apart]))))

    inferred = []
    for case, thing, verdict in asked:
        again = judge_again(verdict, thing, pipeline)
        inferred.append(Example(case, thing, again, again.amodal, again.signs))
    geometric = []
    for case in made:
        for thing in range(len(case.amodal)):
            shape = case.scene.geometric(thing).amodal
            if shape.area:
                geometric.append(Example(case, thing, None, shape, worth.signs(case.scene, thing, shape)))
    results = {}
    for name, signs, examples in (
        ("completed IoU", hidden.ANSWER_SIGNS, inferred),
        ("geometric IoU", worth.SIGNS, geometric),
    ):
        found = fit_worth([e for e in examples if not e.case.apart])
        write(name, dict(zip(signs, found)))
        apart = [e for e in examples if e.case.apart]
        expected = calibration.sigmoid(np.stack([e.signs for e in apart]) @ found)
        results[name] = expected, np.array([e.iou for e in apart])
        means = reliability(*results[name])
        print(f"{name}: {len(apart)} apart, largest gap per decile {np.abs(means[0] - means[1]).max():.3f}")
    for mode in ("instances", "any"):
        share, area = held([e for e in (*inferred, *geometric) if e.case.scene.occluders == mode and e.case.apart])
        print(
            f"possible, {mode}: holds {share:.3f} of an object's hidden pixels, median area {area:.2f} of the object's"
        )
    draw(results, args.figure)
    print(calibration.FILE.read_text())


if __name__ == "__main__":
    main()
