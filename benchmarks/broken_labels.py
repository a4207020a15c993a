"""Labels that break, and what `track: always` makes of them: who has which id, as a table and as a picture.

    ./env python benchmarks/broken_labels.py ../shared/data/camvid_val --picture docs/images/identities.png

FOLDER has `images/` and `labels/` of a drive; a label's value is class * 1000 + id. Objects of fewer than 50 pixels are
left out. With `--photos` also the drive's images with the objects outlined: before with the labels, after with our ids.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.append(str(Path(__file__).resolve().parent))  # ./env keeps a script's own folder off the path

from identities import LEAST, SECOND, Shot, ours

from amodal_ros.io import cut_labels, read_image, read_labels
from amodal_ros.scene import Instance, MaskRegion

#: What one image shows: (label, our id, mask) of each object.
Named = list[tuple[int, int, MaskRegion]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, default=15.0, help="images a second")
    parser.add_argument("--picture", type=Path, help="where to draw who has which id when")
    parser.add_argument("--photos", type=Path, help="where to draw images of the drive")
    parser.add_argument("--every", type=int, default=9, help="photos: every so many images")
    args = parser.parse_args()
    track, drive, images = ours(), [], []
    for shot in shots(args.folder, args.rate):
        found, _ = track(shot)
        drive.append([(given.id, id, mask) for given, owners in zip(shot.given, found) for id, mask in owners])
        images.append(shot.image)
    ids = defaultdict(list)
    for label, id, _ in chain.from_iterable(drive):
        ids[label] += [id] if id not in ids[label] else []
    print(f"{len(drive)} images; {len(ids)} labels, {len(set(chain.from_iterable(ids.values())))} ids of ours")
    for label in sorted(ids):
        seen = [k for k, named in enumerate(drive) if label in [one for one, _, _ in named]]
        print(f"label {label}, images {seen[0]} to {seen[-1]}: {', '.join(map(str, ids[label]))}")
    if args.picture:
        draw_times(drive, args.rate, args.picture)
    if args.photos:
        draw_photos(drive, images, args.every, args.photos)


def shots(folder: Path, rate: float) -> Iterator[Shot]:
    """The images of a folder with their labels, as a tracker is given them: without ids."""
    for k, path in enumerate(sorted((folder / "images").iterdir())):
        labels = cut_labels(read_labels(folder / "labels" / f"{path.stem}.png"), divisor=1000)
        given = [Instance(i.id, i.visible, str(i.id // 1000)) for i in labels.instances if i.visible.area >= LEAST]
        yield Shot(round((k + 1) * SECOND / rate), read_image(path), given, given)


def draw_times(drive: list[Named], rate: float, out: Path) -> None:
    """A row per label and a row per id of ours, each with the times when it was seen; a colour is one id of ours."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), sharex=True, constrained_layout=True)
    colours = plt.get_cmap("tab20").colors
    for panel, title, which in zip(panels, ("labels of the drive", "ids with track: always"), (0, 1)):
        names = list(dict.fromkeys(named[which] for named in chain.from_iterable(drive)))
        for k, seen in enumerate(drive):
            for row, name in enumerate(names):
                owners = sorted({named[1] for named in seen if named[which] == name})
                for part, id in enumerate(owners):
                    height = 0.8 / len(owners)
                    place = (k / rate, row - 0.4 + part * height)
                    panel.add_patch(plt.Rectangle(place, 1.02 / rate, height, color=colours[id % 20], linewidth=0))
        panel.set(title=title, xlim=(0, len(drive) / rate), ylim=(len(names) - 0.5, -0.5), xlabel="seconds")
        panel.set_yticks(range(len(names)), [str(name) for name in names], fontsize=7)
    figure.savefig(out, dpi=80)
    plt.close(figure)


def draw_photos(drive: list[Named], images: list[np.ndarray], every: int, out: Path) -> None:
    """Two strips: the labels above, our ids below."""
    strips = []
    for which in (0, 1):
        strip = []
        for k in range(0, len(drive), every):
            photo = images[k].copy()
            for named in drive[k]:
                mask, name = named[2], named[which]
                colour = tuple(int(255 * c) for c in plt.get_cmap("tab20").colors[name % 20])
                outline, _ = cv2.findContours(mask.full(*photo.shape[:2]).view(np.uint8), cv2.RETR_EXTERNAL, 1)
                cv2.drawContours(photo, outline, -1, colour, 2)
                cv2.putText(photo, str(name), (mask.x, mask.y - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1)
            strip.append(photo)
        strips.append(np.hstack(strip))
    cv2.imwrite(str(out), cv2.cvtColor(np.vstack(strips), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
