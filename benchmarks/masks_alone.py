"""How far masks alone get: the order, the feasible region, the bounded hull.

    python benchmarks/masks_alone.py --folder PASTE --coco-a COCOA --streets 200

Order: of all pairs where one thing hides at least 20 pixels of another that it touches, the share where the masks tell
the right order, leave it open, or tell the wrong one. Answers: mean IoU inside the frame per occlusion of the object,
and the share of its hidden pixels that the feasible region F holds. Streets are drawn from seeds that the rule was not
chosen on; their objects of at least 25 visible pixels count.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from amodal_ros.lab.datasets import streets
from amodal_ros.lab.datasets.coco_a import CocoA
from amodal_ros.lab.datasets.folder import Folder
from amodal_ros.scene import MaskRegion, Occluders, Scene, convex_hull

BINS = {
    "none": (-1, 0),
    "(0, 0.1]": (0, 0.1),
    "(0.1, 0.3]": (0.1, 0.3),
    "(0.3, 0.5]": (0.3, 0.5),
    "(0.5, 0.8]": (0.5, 0.8),
}
BINS["(0, 0.5]"] = (0, 0.5)
FIRST_SEED = 500_000_000
SMALLEST = 25  # visible pixels


@dataclass
class Case:
    """A frame's visible and true masks: first the `count` objects to judge, then what else is labelled.

    `stuff`: what else is labelled as stuff. `occluders`: as in `Scene`, beside ``any``.
    """

    shape: tuple[int, int]
    visible: list[MaskRegion]
    amodal: list[MaskRegion]
    count: int
    stuff: list[MaskRegion] = field(default_factory=list)
    depth: np.ndarray | None = None
    occluders: Occluders = "instances"

    def scene(self, occluders: Occluders) -> Scene:
        return Scene(None, self.visible, self.stuff, depth=self.depth, occluders=occluders, shape=self.shape)


def cases_of(dataset) -> Iterator[Case]:
    for sample in dataset:
        visible = [*(thing.visible for thing in sample.objects), *sample.context]
        amodal = [*(thing.amodal.clip(*sample.shape) for thing in sample.objects), *sample.context]
        yield Case(sample.shape, visible, amodal, len(sample.objects))


def street_cases(count: int, labels: str, unseen: bool = False, depth: str = "") -> Iterator[Case]:
    """Streets with poles, trees, signs and fences unlabelled (``things``), as things (``all``), as stuff (one mask per
    class) or as stuff with ground, sky and walls too (``everything``).

    Args:
        depth: ``order``: it tells the order alone; ``exact``: it also shows what hides; ``sparse``: so do 5 % of its
            pixels with 2 % noise.
    """
    for seed in tqdm(range(FIRST_SEED, FIRST_SEED + count), leave=False):
        frame = streets.scene(seed, unseen=unseen)
        seen = [thing for thing in frame.objects if thing.visible.area >= SMALLEST]
        things = [thing for thing in seen if thing.labelled]
        rest = [thing for thing in seen if not thing.labelled] if labels == "all" else []
        visible = [thing.visible for thing in things + rest]
        amodal = [thing.amodal.clip(*frame.shape) for thing in things + rest]
        stuff = stuff_of(frame, everything=labels == "everything") if labels in ("stuff", "everything") else []
        image = frame.depth if depth else None
        if depth == "sparse":
            rng = np.random.default_rng(seed)
            noisy = frame.depth * (1 + 0.02 * rng.standard_normal(frame.shape))
            image = np.where(rng.random(frame.shape) < 0.05, noisy, np.nan).astype(np.float32)
        occluders: Occluders = "depth" if depth in ("exact", "sparse") else "instances"
        yield Case(frame.shape, visible, amodal, len(things), stuff, image, occluders)


def stuff_of(frame: streets.StreetFrame, everything: bool) -> list[MaskRegion]:
    """One mask per class of stuff."""
    classes: dict[str, list[MaskRegion]] = {}
    for thing in frame.objects:
        if not thing.labelled and thing.visible.area:
            classes.setdefault(thing.kind, []).append(thing.visible)
    stuff = [MaskRegion.union_of(masks) for masks in classes.values()]
    if everything:
        free = ~MaskRegion.union_of(thing.visible for thing in frame.objects).full(*frame.shape)
        sky, lower = free & (frame.depth == 0), np.arange(frame.shape[0])[:, None] >= frame.shape[0] // 2
        stuff += [MaskRegion.from_full(m) for m in (sky, free & ~sky & lower, free & ~sky & ~lower)]
    return stuff


def judge_order(case: Case, scene: Scene) -> list[int]:
    """1 right, 0 open, -1 wrong, for every pair that touches and hides one another."""
    verdicts = []
    front = scene.order.in_front[: len(case.visible)]
    for i, j in zip(*np.nonzero(np.triu(front | front.T))):
        j_hides_i = case.amodal[i].overlap(case.visible[j]) - case.amodal[j].overlap(case.visible[i])
        if abs(j_hides_i) >= 20:
            verdicts.append(int(np.sign(j_hides_i)) * (int(front[j, i]) - int(front[i, j])))
    return verdicts


def report(title: str, cases: Iterator[Case]) -> None:
    order: list[int] = []
    rows: list[list[float]] = []  # occlusion, F's share, then one IoU per method
    for case in cases:
        instances = case.scene(case.occluders)
        by_mode = {"bounded": instances, "any": instances.replace(occluders="any")}
        order += judge_order(case, instances)
        for i, (visible, amodal) in enumerate(zip(instances.masks[: case.count], case.amodal)):
            hidden = amodal - visible
            share = hidden.overlap(instances.feasible(i, amodal.box)) / hidden.area if hidden.area >= 20 else np.nan
            answers = [visible, convex_hull(visible), *(s.geometric(i).amodal for s in by_mode.values())]
            rows.append([hidden.area / amodal.area, share, *(answer.iou(amodal) for answer in answers)])
    right, open_, wrong = (np.mean(np.array(order) == verdict) for verdict in (1, 0, -1))
    print(f"\n{title}\norder of {len(order)} pairs: right {right:.3f}, open {open_:.3f}, wrong {wrong:.3f}")
    print(f"{'occlusion':>11}{'objects':>9}{'modal':>8}{'hull':>8}{'bounded':>9}{'(any)':>8}{'hidden in F':>13}")
    table = np.array(rows)
    for name, (low, high) in BINS.items():
        chosen = table[(table[:, 0] > low) & (table[:, 0] <= high)]
        if len(chosen):
            share, modal, hull, bounded, any_ = chosen[:, 1], *chosen[:, 2:].mean(axis=0)
            in_f = f"{np.nanmean(share):.3f}" if np.isfinite(share).any() else "-"
            print(f"{name:>11}{len(chosen):9d}{modal:8.3f}{hull:8.3f}{bounded:9.3f}{any_:8.3f}{in_f:>13}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="case folders with image, inst_XX_modal.png, inst_XX_amodal.png, occluder.png")
    parser.add_argument("--coco-a", help="folder of COCO-A, or of single annotations N.json beside N.jpg")
    parser.add_argument("--streets", type=int, default=200, help="street scenes of each sort (default 200, 0: none)")
    args = parser.parse_args()
    if args.folder:
        report("composites", cases_of(Folder(args.folder)))
    if args.coco_a:
        report("COCO-A", cases_of(CocoA(args.coco_a)))
    if args.streets:
        for unseen in (False, True):
            for labels in ("things", "all"):
                title = f"streets{', unseen kinds' if unseen else ''}, labels {labels}"
                report(title, street_cases(args.streets, labels, unseen))
        report("streets, labels all, depth for the order", street_cases(args.streets, "all", depth="order"))
        for labels in ("stuff", "everything"):
            report(f"streets, labels things and {labels}", street_cases(args.streets, labels))
        for labels, depth in (("things", "exact"), ("things", "sparse"), ("everything", "exact")):
            title = f"streets, labels {labels}, occluders depth, {depth}"
            report(title, street_cases(args.streets, labels, depth=depth))


if __name__ == "__main__":
    main()
