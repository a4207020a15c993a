"""What the live session's memory is worth: accuracy and flicker on street sequences against completions per frame.

    python benchmarks/live.py --model embedded --json benchmarks/live.json --figure docs/live.png

Sequences at 10 Hz with exact truth are answered in deterministic mode with 0, 1, 2, 4 and unlimited completions per
frame, ready in its answer or, as behind a worker, a frame later, and, for comparison, by completing every object of
every frame afresh and forgetting it. A completion depends on the image and the seed alone, so the runs share them: each
object of each frame is completed at most once.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from amodal_ros.lab.datasets.streets import TEST_SEEDS, StreetFrame, StreetObject, sequence
from amodal_ros.lab.evaluation.metrics import Record, overlap, summarise
from amodal_ros.live.motion import Similarity
from amodal_ros.live.plain import PlainAnswerer
from amodal_ros.live.session import LiveSession
from amodal_ros.scene import Answer, Completion, MaskRegion, Scene, Source

RATE = 10.0  # Hz
#: Drives that no constant of the session was chosen on.
SEEDS = TEST_SEEDS[-200:-100]
#: Objects with fewer visible pixels do not count: nobody plans around them, and they never take the model.
MIN_VISIBLE = 100
PER_FRAME = (0, 1, 2, 4)
LATE = "live, {}, a frame late"
HULL, AFRESH, EVERY = "bounded hull", "every object afresh", "live, every object"
#: Objects whose true outline changes by more than this (1 - IoU, motion compensated) between frames are not rigid.
CHANGES = 0.04


class Shared:
    """A pipeline whose completions are kept, so that several runs over the same frames pay for them once."""

    def __init__(self, pipeline) -> None:
        self.name = pipeline.name
        self.seconds, self.processor, self.completions = 0.0, 0.0, 0  # on the clock, and of the processor
        self._pipeline = pipeline
        self._done: dict[tuple, Completion] = {}

    def complete(self, scene: Scene, *, which: Sequence[int], **options) -> list[Completion]:
        keys = {i: (id(scene.image), *scene.masks[i].box) for i in which}
        wanted = [i for i in which if keys[i] not in self._done]
        if wanted:
            started, processor = time.perf_counter(), time.process_time()
            results = self._pipeline.complete(scene, which=wanted, **options)
            self.seconds += time.perf_counter() - started
            self.processor += time.process_time() - processor
            self.completions += len(wanted)
            self._done.update(zip((keys[i] for i in wanted), results))
        return [self._done[keys[i]] for i in which]

    def forget(self) -> None:
        self._done.clear()


class Truth:
    """Perfect completions: what the memory alone costs. An upper bound, not a model."""

    name = "truth"

    def __init__(self) -> None:
        self._shapes: dict[tuple, MaskRegion] = {}

    def tell(self, frames: Sequence[StreetFrame]) -> None:
        self._shapes = {(id(f.image), *o.visible.trim().box): o.amodal for f in frames for o in f.objects}

    def complete(self, scene: Scene, *, which: Sequence[int], **_) -> list[Completion]:
        shapes = {i: scene.masks[i] | self._shapes[(id(scene.image), *scene.masks[i].box)] for i in which}
        return [Completion(scene.masks[i], shape, scene.shape, Source.INFERRED) for i, shape in shapes.items()]


def load(model: str):
    if model == "truth":
        return Truth()
    import torch

    from amodal_ros.completion import AmodalPipeline

    torch.set_num_threads(1)
    return AmodalPipeline.from_pretrained(model)


@dataclass
class Run:
    """One way of answering: its answers per frame and object, and the time without the model's."""

    answers: list[dict[int, Answer]]
    seconds: list[float]


def answer_all(answerer, scenes: Sequence[Scene], shared: Shared) -> Run:
    run = Run([], [])
    for scene in scenes:
        started, model = time.perf_counter(), shared.seconds
        answers = answerer.answer(scene)
        run.seconds.append(time.perf_counter() - started - (shared.seconds - model))
        run.answers.append({answer.instance.id: answer for answer in answers})
    return run


def runs(scenes: Sequence[Scene], shared: Shared) -> Iterator[tuple[str, Run]]:
    """Every way of answering one sequence. Completing everything comes first: the others share its completions."""
    yield HULL, answer_all(PlainAnswerer(), scenes, shared)
    yield AFRESH, answer_all(PlainAnswerer(shared), scenes, shared)
    for count in (*PER_FRAME, 10_000):
        session = LiveSession(shared, in_line=count, batch=8)
        yield (EVERY if count == 10_000 else f"live, {count}"), answer_all(session, scenes, shared)
    for count in PER_FRAME[1:]:
        yield LATE.format(count), answer_all(LiveSession(shared, in_line=count, late=True), scenes, shared)


# --- what is measured -------------------------------------------------------------------------------------------


def records(seed: int, truth: Sequence[StreetFrame], answers: dict[str, Run]) -> Iterator[tuple[Record, bool]]:
    """Every object of every frame, and whether it was seen whole earlier and is hidden now."""
    whole: set[int] = set()
    for k, frame in enumerate(truth):
        for thing in frame.objects:
            if thing.visible.area < MIN_VISIBLE or not thing.labelled or thing.id not in answers[AFRESH].answers[k]:
                continue
            given = {name: run.answers[k][thing.id] for name, run in answers.items()}
            record = Record(
                f"{seed}/{k}",
                str(thing.id),
                f"{seed}/{thing.id}",
                thing.class_id,
                thing.occlusion,
                {name: overlap(a.completion.amodal, thing.amodal, frame.shape, True) for name, a in given.items()},
                {name: a.completion.source.name for name, a in given.items()},
            )
            yield record, thing.occlusion > 0.1 and thing.id in whole
            if thing.occlusion == 0.0 and not thing.visible.touches_edge(*frame.shape):
                whole.add(thing.id)


def true_motion(before: MaskRegion, now: MaskRegion) -> Similarity:
    """The similarity between two true masks, from their areas and centres."""

    def centre(mask: MaskRegion) -> np.ndarray:
        moments = cv2.moments(mask.bits.astype(np.uint8), binaryImage=True)
        return np.array([moments["m10"], moments["m01"]]) / moments["m00"] + (mask.x, mask.y)

    scale = float(np.sqrt(now.area / before.area))
    return Similarity(scale, *(centre(now) - scale * centre(before)).tolist())


def pairs_of(
    truth: Sequence[StreetFrame], answers: dict[str, Run]
) -> Iterator[tuple[int, StreetObject, StreetObject, Similarity]]:
    """Every answered object of two frames in turn: (second frame, object before, object now, its true motion)."""
    for k in range(1, len(truth)):
        previous = {o.id: o for o in truth[k - 1].objects}
        for thing in truth[k].objects:
            old = previous.get(thing.id)
            if old is None or min(old.visible.area, thing.visible.area) < MIN_VISIBLE or not thing.labelled:
                continue
            if all(thing.id in answers[AFRESH].answers[n] for n in (k - 1, k)):
                yield k, old, thing, true_motion(old.amodal, thing.amodal)


def steadiness(truth: Sequence[StreetFrame], answers: dict[str, Run]) -> Iterator[dict[str, tuple[float, float]]]:
    """Per hidden object and pair of frames: method -> (IoU with its moved previous mask, IoU with the truth)."""
    for k, old, thing, motion in pairs_of(truth, answers):
        if thing.occlusion <= 0.1 or thing.occlusion > 0.8:
            continue
        shape = truth[k].shape

        def compare(before: MaskRegion, now: MaskRegion, motion=motion, shape=shape) -> float:
            return motion.mask(before, shape).clip(*shape).iou(now.clip(*shape))

        row = {"truth": (compare(old.amodal, thing.amodal), 1.0)}
        for name, run in answers.items():
            then, now = (run.answers[n][thing.id].completion.amodal for n in (k - 1, k))
            row[name] = compare(then, now), now.clip(*shape).iou(thing.amodal.clip(*shape))
        yield row


@dataclass(frozen=True)
class CutPair:
    """One object that the frame cuts, in two frames in turn, as one method answered it.

    Attributes:
        estimated: both answers say how far it goes on outside the frame; else truncation is NaN.
        steadiness: IoU with the moved previous mask; with what lies outside the frame where `estimated`.
        iou: with the truth, in the same way.
        switched: one says how far it goes on outside, and the other does not.
        turned: the source of the answer changed.
        jumped: the answers are further apart than they admit: 1 - IoU obeys the triangle inequality, so two that are
            as good as they say differ by no more than the sum of what they may lack.
    """

    estimated: bool
    steadiness: float
    iou: float
    switched: bool
    turned: bool
    jumped: bool


def cut_by_frame(truth: Sequence[StreetFrame], answers: dict[str, Run]) -> Iterator[dict[str, CutPair]]:
    """Every object that the frame cuts in two frames in turn: method -> `CutPair`."""
    for k, old, thing, motion in pairs_of(truth, answers):
        shape = truth[k].shape
        if not all(o.amodal.area > o.amodal.clip(*shape).area and o.visible.touches_edge(*shape) for o in (old, thing)):
            continue
        row = {}
        for name, run in answers.items():
            then, now = (run.answers[n][thing.id].completion for n in (k - 1, k))
            estimated = then.estimates_outside and now.estimates_outside
            masks = motion.mask(then.amodal, shape), now.amodal, thing.amodal
            moved, shown, true = masks if estimated else (mask.clip(*shape) for mask in masks)
            steady = moved.iou(shown)
            admitted = (1.0 - then.expected_iou) + (1.0 - now.expected_iou)
            jumped = 1.0 - steady > admitted
            switched = then.estimates_outside is not now.estimates_outside
            row[name] = CutPair(estimated, steady, shown.iou(true), switched, then.source is not now.source, jumped)
        yield row


def cut_summary(rows: list[dict[str, CutPair]]) -> dict[str, dict[str, float]]:
    """Per method: pairs, the share that is estimated outside the frame, means, and the share that jumped (also where
    the source changed)."""
    found = {}
    for name in rows[0] if rows else ():
        pairs = [row[name] for row in rows]
        turned = [pair for pair in pairs if pair.turned]
        found[name] = {
            "pairs": len(pairs),
            **{what: float(np.mean([getattr(p, what) for p in pairs])) for what in ("estimated", "steadiness", "iou")},
            "switched": float(np.mean([p.switched for p in pairs])),
            "jumped": float(np.mean([p.jumped for p in pairs])),
            "source changed": len(turned),
            "jumped where it changed": float(np.mean([p.jumped for p in turned])) if turned else 0.0,
        }
        found[name] = {what: round(value, 4) for what, value in found[name].items()}
    return found


def flicker(rows: list[dict[str, tuple[float, float]]]) -> dict:
    """Mean steadiness and mIoU per method, over all pairs and over those where the true shape changes."""
    groups = {"all": rows, "changing shapes": [r for r in rows if r["truth"][0] < 1.0 - CHANGES]}
    return {
        group: {
            "pairs": len(members),
            **{
                name: dict(zip(("steadiness", "miou"), np.mean([r[name] for r in members], axis=0).round(4).tolist()))
                for name in members[0]
            },
        }
        for group, members in groups.items()
        if members
    }


# --- output ---------------------------------------------------------------------------------------------------------


def table(summary: dict) -> str:
    bins = [name for name in summary if not name.startswith("(0, 0.") or name in ("(0, 0.1]", "(0, 0.8]")]
    methods = list(next(iter(summary.values()))["methods"])
    lines = [f"{'':24}" + "".join(f"{name:>12}" for name in bins)]
    lines.append(f"{'objects':24}" + "".join(f"{summary[name]['n']:12d}" for name in bins))
    for method in methods:
        cells = (f"{100 * summary[name]['methods'][method]['mean']:12.1f}" for name in bins)
        lines.append(f"{method:24}" + "".join(cells))
    return "\n".join(lines)


def draw(report: dict, path: Path) -> None:
    """mIoU of hidden objects against completions per frame, with the point that this CPU reaches in real time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), constrained_layout=True)
    parts = {"all objects, all frames": report["accuracy"]["all"], "hidden now, whole before": report["whole_before"]}
    for (label, part), colour in zip(parts.items(), ("tab:blue", "tab:orange")):
        means = [100 * part["methods"][f"live, {n}"]["mean"] for n in PER_FRAME]
        axes.plot(PER_FRAME, means, "o-", color=colour, label=f"live: {label}")
        late = [means[0], *(100 * part["methods"][LATE.format(n)]["mean"] for n in PER_FRAME[1:])]
        axes.plot(PER_FRAME, late, "o--", color=colour, label=f"the same, a frame late: {label}")
        afresh = 100 * part["methods"][AFRESH]["mean"]
        axes.axhline(afresh, color=colour, linestyle=":", label=f"every object afresh: {label}")
    real_time = report["completions_per_second"] / RATE
    if real_time < max(PER_FRAME):
        axes.axvline(real_time, color="grey", linestyle="--", label=f"one core: {real_time:.2f} per frame")
    axes.set(xlabel=f"completions per frame (10 Hz, model {report['model']})", ylabel="mIoU [%]")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded", help="name, folder, or 'truth' (perfect completions)")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--frames", type=int, default=60, help="per sequence")
    parser.add_argument(
        "--objects", type=int, default=20, help="along the way; about ten labelled ones are in view at once"
    )
    parser.add_argument("--labels", choices=("things", "all"), default="things")
    parser.add_argument("--noise", type=int, default=0, help="of the labels, 0 to 3")
    parser.add_argument("--occluders", default="instances")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    if args.model == "truth" and args.noise:
        parser.error("perfect completions of noisy labels are not defined: --model truth needs --noise 0")
    cv2.setNumThreads(1)

    pipeline = load(args.model)
    shared = Shared(pipeline)
    found: list[tuple[Record, bool]] = []
    pairs: list[dict] = []
    cut: list[dict[str, CutPair]] = []
    seconds: dict[str, list[float]] = {}
    in_view: list[int] = []
    for seed in tqdm(SEEDS[: args.sequences], desc="sequences"):
        truth = list(sequence(seed, args.frames, objects=args.objects, rate=RATE))
        if isinstance(pipeline, Truth):
            pipeline.tell(truth)
        scenes = [
            Scene(f.image, f.instances(args.labels, args.noise), occluders=args.occluders, stamp=f.stamp) for f in truth
        ]
        in_view += [len(scene.things) for scene in scenes]
        answers = dict(runs(scenes, shared))
        for name, run in answers.items():
            seconds.setdefault(name, []).extend(run.seconds)
        found += records(seed, truth, answers)
        pairs += steadiness(truth, answers)
        cut += cut_by_frame(truth, answers)
        shared.forget()

    methods = list(seconds)
    report = {
        "model": shared.name,
        "machine": f"{platform.processor() or platform.machine()}, 1 thread",
        "settings": {k: v for k, v in vars(args).items() if k not in ("json", "figure")},
        "objects_in_view": {"median": float(np.median(in_view)), "max": max(in_view)},
        "completions": shared.completions,
        "completions_per_second": shared.completions / max(shared.processor, 1e-9),  # of one core
        "accuracy": summarise([r for r, _ in found], methods, reference="live, 2"),
        "whole_before": summarise([r for r, was in found if was], methods, reference="live, 2").get("all"),
        "flicker": flicker(pairs),
        "cut_by_frame": cut_summary(cut),
        "answers": {m: _counts([r.answers[m] for r, _ in found]) for m in methods},
        "answer_ms": {m: np.percentile(1e3 * np.array(s), (50, 95)).round(1).tolist() for m, s in seconds.items()},
    }
    print(table(report["accuracy"]))
    print("\nhidden now, whole before:\n" + table({"all": report["whole_before"]}) if report["whole_before"] else "")
    print("\nflicker:\n" + json.dumps(report["flicker"], indent=1))
    print("\ncut by the frame:\n" + json.dumps(report["cut_by_frame"], indent=1))
    print("\nanswering without the model, ms [p50, p95]:", report["answer_ms"])
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.figure:
        draw(report, args.figure)


def _counts(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}


if __name__ == "__main__":
    main()
