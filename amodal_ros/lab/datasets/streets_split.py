"""The frozen test lists of the synthetic streets as a data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cached_property

from amodal_ros.lab.datasets import streets
from amodal_ros.lab.datasets.base import Dataset, DatasetObject, Sample
from amodal_ros.scene.mask import MaskRegion


class StreetsSplit(Dataset):
    """Synthetic streets: the objects of a frozen test list, drawn on the fly with exact truth.

    Truth reaches beyond the frame. All other labelled instances of a frame are context.

    Args:
        split: ``"test"``, or ``"test-unseen"`` with kinds, shapes and textures that training never draws.
        labels: ``"things"`` (poles, trees, signs and fences hide without being labelled) or ``"all"``.
        noise: of the visible masks, 0 (exact) to 3. Objects that it removes or merges away are left out.
    """

    name = "streets"
    has_root = False

    def __init__(
        self, split: streets.Split = "test", labels: streets.Labels = "things", noise: int = 0, skip_bad: bool = False
    ) -> None:
        super().__init__(skip_bad)
        self.split, self.labels, self.noise = split, labels, noise
        self.protocol = f"frozen list {split}, labels {labels}, label noise {noise}, truth beyond the frame"
        self._wanted: dict[str, list[int]] = {}
        for case in streets.test_list(split):
            self._wanted.setdefault(str(case.seed), []).append(case.id)

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--split", choices=("test", "test-unseen"), default="test")
        parser.add_argument("--labels", choices=("things", "all"), default="things", help="what the label image has")
        parser.add_argument("--noise", type=int, choices=range(4), default=0, help="of the visible masks")

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> StreetsSplit:
        return cls(args.split, args.labels, args.noise, args.skip_bad)

    @cached_property
    def frames(self) -> Sequence[str]:
        return list(self._wanted)

    def sample(self, frame_id: str) -> Sample:
        frame = streets.scene(int(frame_id), unseen=self.split == "test-unseen")
        masks = {instance.id: instance.visible for instance in frame.instances(self.labels, self.noise)}
        wanted = [id for id in self._wanted[frame_id] if id in masks]
        return Sample(
            frame_id=frame_id,
            shape=frame.shape,
            objects=tuple(_object(frame, id, masks[id]) for id in wanted),
            read_image=lambda: frame.image,
            context=tuple(mask for id, mask in masks.items() if id not in wanted),
            read_depth=lambda: frame.depth,
            truth_leaves_frame=True,
        )


def _object(frame: streets.StreetFrame, id: int, visible: MaskRegion) -> DatasetObject:
    truth = frame.truth(id)
    return DatasetObject(str(id), visible, truth.amodal, truth.occlusion, truth.class_id, f"{frame.seed}/{id}")
