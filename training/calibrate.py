"""Makes the judge's constants: ``python -m training.calibrate --objects DIR``; minutes on a small machine.

Streets of the training range and real objects pasted over each other are answered by geometry and completed by the
model; their truth is exact. Fitted are, each by a logistic regression on a few named signs:

* how probable it is that a pixel is hidden (`amodal_ros.completion.hidden`),
* which IoU an answer can expect, completed (`amodal_ros.completion.judge`) or geometric (`amodal_ros.scene.worth`),
* how probable it is that a pixel at some distance from an answer is hidden, and which probability is too small to
  count: how far `possible` reaches (`amodal_ros.scene.worth`).

A third of the images is kept apart: the reliability figure is drawn on it, and on it is measured how much of what is
hidden `possible` holds.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from amodal_ros.completion import AmodalPipeline, hidden, judge
from amodal_ros.lab.datasets import streets
from amodal_ros.scene import MaskRegion, Scene, calibration, worth
from amodal_ros.scene.mask import wider
from training.pastes import object_files, paste

#: Scenes of these seeds: of the training range, far from where training begins.
FIRST_SEED = 500_000_000
#: Of the pixels' weight so much belongs to streets, the rest to real objects: the world is not drawn.
STREETS = 0.1
#: Pixels of one object that are looked at.
PIXELS = 300
#: One image in so many is kept apart.
APART = 3
#: `possible` is to hold so much of an object's hidden pixels, in the mean over objects; kinds count alike.
HELD = 0.97
#: Objects count as hidden of which a share in this range is not seen: of a sliver nobody can tell how far it goes on.
HIDDEN = (0.02, 0.8)
#: Distances from an answer, in units of its size, between which hidden pixels are counted.
STEPS = np.linspace(0.0, worth.FARTHEST, 61)
#: How far objects go on is learnt on these at half, at all and at twice their size too: cameras resolve differently.
SCALES = (0.5, 1.0, 2.0)


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
        amodal, signs: the answer and what tells its worth.
        iou: with the truth; outside the frame, too.
    """

    case: Case
    thing: int
    amodal: MaskRegion
    signs: np.ndarray
    iou: float = 0.0

    def __post_init__(self) -> None:
        self.iou = self.amodal.iou(self.truth)

    @property
    def truth(self) -> MaskRegion:
        return self.case.amodal[self.thing]


# --- images with truth ------------------------------------------------------------------------------------------


def cases(objects: Sequence[Path], scenes: int, pastes: int) -> Iterator[Case]:
    """Streets and pastes in turn, each with all labels, and again with half of them gone.

    With half the labels anything may hide in two of three images; in the third only what has a label, as where a
    robot's segmenter does not know what hides.
    """
    files = [file for folder in objects for file in object_files(folder)]
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
        mode = "instances" if seed // APART % 3 == 0 else "any"
        scene = Scene(image, [visible[k] for k in things], [visible[k] for k in stuff], occluders=mode)
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


@dataclass(frozen=True)
class Spread:
    """Where an object goes on beyond an answer.

    Attributes:
        kind: of the case.
        told: `worth.reach_signs`.
        pixels, hidden: how many pixels there are and how many of them are hidden, in units of the object's area, int
            (len(worth.PLACES), len(STEPS) - 1): by place and by distance from the answer.
        answered, missing: hidden pixels that the answer holds, and all of them, in the same units.
    """

    kind: str
    told: tuple[float, ...]
    pixels: np.ndarray
    hidden: np.ndarray
    answered: float
    missing: float

    @classmethod
    def of(cls, example: Example) -> Spread:
        scene, i, answer, truth = example.case.scene, example.thing, example.amodal, example.truth
        size = math.sqrt(answer.area)
        box = wider(answer.box, math.ceil(worth.FARTHEST * size))
        missing = truth - scene.masks[i]
        beyond = ~answer.window(*box)
        distance = worth.distance_from(answer, box) / size
        there = [place & beyond for place in worth.places(scene, i, box).values()]
        pixels, hidden_pixels = (
            np.stack([np.histogram(distance[place & which], STEPS)[0] for place in there]) / truth.area
            for which in (beyond, missing.window(*box))
        )
        shares = missing.overlap(answer) / truth.area, missing.area / truth.area
        return cls(example.case.kind, worth.reach_signs(scene, i), pixels, hidden_pixels, *shares)

    def held(self, reaches: dict[str, float]) -> float:
        """The share of the object's hidden pixels that is held with these reaches."""
        within = [np.interp(reaches[p], STEPS, np.r_[0.0, h.cumsum()]) for p, h in zip(worth.PLACES, self.hidden)]
        return (self.answered + sum(within)) / self.missing


def fit_reach(spreads: Sequence[Spread]) -> dict[str, np.ndarray]:
    """How probable it is that a pixel is hidden, by its place and its distance from the answer; objects count alike."""
    middle = np.log(worth.NEAREST + (STEPS[1:] + STEPS[:-1]) / 2)
    weight = balanced([s.kind for s in spreads])
    size = worth.REACH_SIGNS.index("log size")
    found = {}
    for k, place in enumerate(worth.PLACES):
        rows, shares, weights = [], [], []
        for spread, heavy in zip(spreads, weight):
            at = np.flatnonzero(spread.pixels[k])
            for scale in SCALES:
                told = np.array(spread.told)
                told[size] = np.clip(told[size] + 2 * math.log(scale), *np.log((worth.SMALLEST, worth.LARGEST)))
                rows.append(np.column_stack([np.tile(told, (len(at), 1)), middle[at]]))
                shares.append(spread.hidden[k, at] / spread.pixels[k, at])
                weights.append(heavy * spread.pixels[k, at])
        found[place] = logistic(np.concatenate(rows), np.concatenate(shares), np.concatenate(weights))
    return found


def fit_least(spreads: Sequence[Spread]) -> float:
    """The log-odds below which a pixel's probability counts no more, so that objects of every kind are held (`HELD`).

    The regressions of `fit_reach` are those that count at present.
    """
    hidden_ones = [s for s in spreads if HIDDEN[0] < s.missing <= HIDDEN[1]]
    weight = balanced([s.kind for s in hidden_ones])

    def held(least: float) -> float:
        return float(np.average([s.held(worth.reaches_of(s.told, least)) for s in hidden_ones], weights=weight))

    low, high = -12.0, 0.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) >= HELD else (low, middle)
    return low


@dataclass(frozen=True)
class Holding:
    """How much of objects `possible` holds, and how large it is.

    Attributes:
        shares: of the hidden pixels of each object that is hidden or cut by the frame (`HIDDEN`).
        inside: the same of those inside the frame, where there are some.
        areas: inside the frame, in units of the object's area; of all objects.
    """

    shares: np.ndarray
    inside: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Holding:
        shares, inside, areas = [], [], []
        for e in examples:
            scene, truth = e.case.scene, e.truth
            region, missing = scene.possible(e.thing, e.amodal), truth - scene.masks[e.thing]
            seen = missing.clip(*scene.shape)
            areas.append(region.clip(*scene.shape).area / truth.area)
            if not HIDDEN[0] < missing.area / truth.area <= HIDDEN[1]:
                continue
            shares.append(missing.overlap(region) / missing.area)
            if seen.area > HIDDEN[0] * truth.area:
                inside.append(seen.overlap(region) / seen.area)
        return cls(np.array(shares), np.array(inside), np.array(areas))

    def __str__(self) -> str:
        spread = 1.96 * self.shares.std() / math.sqrt(len(self.shares))
        return (
            f"holds {self.shares.mean():.3f} (+- {spread:.3f}, n = {len(self.shares)}) of an object's hidden pixels,"
            f" {self.inside.mean():.3f} of those inside the frame (n = {len(self.inside)});"
            f" median area there {np.median(self.areas):.2f} of the object's (n = {len(self.areas)})"
        )


# --- what came of it -----------------------------------------------------------------------------------------------


def deciles(expected: np.ndarray) -> list[np.ndarray]:
    """Positions of answers by their expected IoU, ten groups of one size."""
    return np.array_split(np.argsort(expected, kind="stable"), 10)


def gap(expected: np.ndarray, actual: np.ndarray) -> tuple[float, float]:
    """The largest difference of mean expected and mean actual IoU of a decile; and what chance alone makes of it.

    The second is the mean over 200 shuffles of the errors without their mean: a perfect estimate shows as much.
    """
    error, groups, rng = actual - expected, deciles(expected), np.random.default_rng(0)
    largest = [
        max(abs(shuffled[g].mean()) for g in groups)
        for shuffled in (rng.permutation(error - error.mean()) for _ in range(200))
    ]
    return max(abs(error[g].mean()) for g in groups), float(np.mean(largest))


def draw(examples: dict[str, tuple[np.ndarray, np.ndarray]], file: Path) -> None:
    """The reliability figure: expected against actual IoU per decile, with 95 % intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.5, 4.5))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.fill_between([0, 1], [-0.05, 0.95], [0.05, 1.05], color="grey", alpha=0.15, linewidth=0)
    for name, (expected, actual) in examples.items():
        groups = deciles(expected)
        means = [[values[g].mean() for g in groups] for values in (expected, actual)]
        spread = [1.96 * actual[g].std() / math.sqrt(len(g)) for g in groups]
        axes.errorbar(*means, yerr=spread, marker="o", markersize=4, capsize=2, label=f"{name}, n = {len(actual)}")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="expected IoU", ylabel="IoU with the truth")
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
    parser.add_argument("--objects", type=Path, required=True, nargs="+", metavar="DIR", help="crops of whole things")
    parser.add_argument("--model", default="embedded", help="name, profile or folder")
    parser.add_argument("--scenes", type=int, default=72, help="streets")
    parser.add_argument("--pastes", type=int, default=480, help="images of pasted objects")
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

    completed_ones = []
    for case, thing, verdict in asked:
        again = judge_again(verdict, thing, pipeline)
        completed_ones.append(Example(case, thing, again.amodal, again.signs))
    geometric = []
    for case in made:
        for thing in range(len(case.amodal)):
            shape = case.scene.geometric(thing).amodal
            if shape.area:
                geometric.append(Example(case, thing, shape, worth.signs(case.scene, thing, shape)))
    results = {}
    for name, signs, examples in (
        ("completed IoU", hidden.ANSWER_SIGNS, completed_ones),
        ("geometric IoU", worth.SIGNS, geometric),
    ):
        fitted, apart = ([e for e in examples if e.case.apart is kept] for kept in (False, True))
        found = fit_worth(fitted)
        write(name, dict(zip(signs, found)))
        expected = calibration.sigmoid(np.stack([e.signs for e in apart]) @ found)
        results[name] = expected, np.array([e.iou for e in apart])
        largest, by_chance = gap(*results[name])
        print(f"{name}: {len(apart)} apart, largest gap per decile {largest:.3f}, {by_chance:.3f} by chance")

    answers = [*completed_ones, *geometric]
    spreads = [Spread.of(e) for e in tqdm(answers, desc="reach", mininterval=5) if not e.case.apart]
    for place, found in fit_reach(spreads).items():
        write(f"hidden {place}", dict(zip(worth.REACH_SIGNS, found)))
    write("possible", {"log-odds": fit_least(spreads)})
    for kind in sorted({case.kind for case in made}):
        for mode in ("instances", "any"):
            some = [e for e in answers if (e.case.kind, e.case.scene.occluders) == (kind, mode) and e.case.apart]
            print(f"possible, {kind}, {mode}: {Holding.of(some)}")
    draw(results, args.figure)
    print(calibration.FILE.read_text())


if __name__ == "__main__":
    main()
