"""Files of a folder, in the order that people mean."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".npy")


def natural(name: Path | str) -> tuple[list[str | int], str]:
    """A sorting key by which 2 comes before 10.

    >>> sorted(["10.png", "2.png", "1.png"], key=natural)
    ['1.png', '2.png', '10.png']
    """
    # re.split with a group alternates text and digits, so that like is compared with like.
    parts = re.split(r"(\d+)", str(name))
    return [int(part) if k % 2 else part for k, part in enumerate(parts)], str(name)


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in natural order."""
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."), key=natural)


def unique_names(entries: Sequence[tuple[str, object]], whole_path: bool = False) -> list[str]:
    """A name for each of a list's entries, no two alike.

    Args:
        entries: (file name, id) of each; neither need be unique.
        whole_path: begin with the path, not with the file's stem.

    Returns:
        The file's stem, where two share it the path without suffix, where two share that the path and ``#id``; where
        even these are alike they are counted.
    """
    paths = [Path(name) for name, _ in entries]
    whole = [str(path.with_suffix("")) for path in paths]
    names = whole if whole_path else [path.stem for path in paths]
    finer = (
        whole,
        [f"{name}#{id}" for name, (_, id) in zip(whole, entries)],
        [f"{name}#{id}.{k}" for k, (name, (_, id)) in enumerate(zip(whole, entries), 1)],
    )
    for candidates in finer:
        shared = _shared(names)
        names = [candidate if name in shared else name for name, candidate in zip(names, candidates)]
    return names


def numbered(names: Sequence[str]) -> list[str]:
    """The names, of which those that come again carry their number: a, b, a#2."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result


def _shared(names: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]
