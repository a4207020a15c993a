"""How the frozen test lists were chosen: `python -m amodal_ros.lab.datasets.street_world.freeze` writes them again.

Run it only when the generator is meant to change: every accuracy figure measured before is void then.
"""

from __future__ import annotations

import json

from amodal_ros.lab.datasets.streets import (
    LISTS,
    TEST_SEEDS,
    TEST_UNSEEN_SEEDS,
    Split,
    StreetFrame,
    StreetObject,
    fingerprint,
    scene,
)

SCENES: dict[Split, range] = {"test": TEST_SEEDS[:100], "test-unseen": TEST_UNSEEN_SEEDS[:80]}
LEAST_VISIBLE = 150  # pixels
LEAST_AMODAL = 400  # pixels inside the frame
LEAST_INSIDE = 0.25  # share of the whole object
OCCLUDED = (0.01, 0.8)  # of more than this no outline can be expected


def counts(thing: StreetObject, frame: StreetFrame) -> bool:
    """Whether an object is labelled and enough of it is to be seen."""
    inside = thing.amodal.clip(*frame.shape).area
    seen = thing.visible.area >= LEAST_VISIBLE and inside >= max(LEAST_AMODAL, LEAST_INSIDE * thing.amodal.area)
    return thing.labelled and seen


def select(split: Split) -> list[tuple[int, int, float]]:
    """(seed, id, occlusion): all that are occluded, and of every scene the nearest one that is not."""
    cases = []
    for seed in SCENES[split]:
        frame = scene(seed, unseen=split == "test-unseen")
        usable = [thing for thing in frame.objects if counts(thing, frame)]
        whole = [thing for thing in usable if thing.occlusion == 0][:1]
        hidden = [thing for thing in usable if OCCLUDED[0] <= thing.occlusion <= OCCLUDED[1]]
        cases += [(seed, thing.id, round(thing.occlusion, 4)) for thing in hidden + whole]
    return cases


def main() -> None:
    for split in SCENES:
        file = LISTS / f"streets-{split}.json"
        rows = ",\n".join(json.dumps(case) for case in select(split))
        file.write_text(f'{{"sha256": "", "cases": [\n{rows}\n]}}\n')
        file.write_text(file.read_text().replace('"sha256": ""', f'"sha256": "{fingerprint(split)}"'))


if __name__ == "__main__":
    main()
