"""Every choice of the method, nested as the paper's sections are. `docs/method.md` says why each exists."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from amodal_ros.scene import Occluders
from amodal_ros.settings.readings import CONDITIONS, READINGS, Area, Condition, Equation, Histogram, Reading
from amodal_ros.settings.values import Value, hints, number, parsed

EmptyMask = Literal["known", "unknown"]

#: w of Eq. 11 as published; other families take that of Stable Diffusion (`docs/method.md`).
GUIDANCE = {"flux": 1.5}


@dataclass(frozen=True)
class AroundObject(Value):
    """A square around the visible mask.

    Attributes:
        margin: what it adds on each side of the mask's box, as a fraction of the box's longer side, [0, 4].
    """

    name: ClassVar[str] = "object"
    margin: float = number(0.5, 0, 4)


@dataclass(frozen=True)
class WholeImage(Value):
    """The whole image, squeezed to a square (the paper)."""

    name: ClassVar[str] = "none"


CROPS: dict[str, type[Value]] = {kind.name: kind for kind in (AroundObject, WholeImage)}


@dataclass(frozen=True)
class Sampling(Value):
    """Section 4.1.

    Attributes:
        steps: denoising steps, >= 1.
        guidance: w of Eq. 11, >= 0.
        empty_mask: what an empty M means in Eq. 11: nothing is masked (``"known"``) or nothing is known.
        samples: completions drawn per object; the majority of them is the answer, >= 1.
        max_batch: objects times samples that go through the denoiser together, >= 1.
    """

    steps: int = number(20, 1, 1000)
    guidance: float = number(0.75, 0, 20)
    empty_mask: EmptyMask = "known"
    samples: int = number(1, 1, 64)
    max_batch: int = number(8, 1, 256)


@dataclass(frozen=True)
class Points(Value):
    """Section 5.1: what prompts the segmenter.

    Attributes:
        positive: points drawn from V, >= 1.
        negative: points drawn from what is known not to be the object, >= 0.
    """

    positive: int = number(9, 1, 64)
    negative: int = number(0, 0, 64)


@dataclass(frozen=True)
class Judgement(Value):
    """What becomes of the segmenter's masks.

    Attributes:
        choice: which of them counts: the one that explains the ``"known"`` pixels best, or the one with the
            segmenter's own best ``"predicted"`` IoU (the paper).
        keep_visible: the answer always contains V and only what is connected to it.
        answer: the ``"completion"`` as it was painted, or the ``"best"``: of what is visible, the bounded hull, the
            completion and what is probably hidden, the one with the highest expected IoU (`judge.judged`).
    """

    choice: Literal["predicted", "known"] = "predicted"
    keep_visible: bool = True
    answer: Literal["completion", "best"] = "completion"


@dataclass(frozen=True)
class Settings(Value):
    """How one object is completed: by default as published, on a crop around the object, keeping its visible part.

    Attributes:
        crop: `AroundObject` or `WholeImage`.
        reading: which reading of Eq. 7 the sampler uses (`readings`).
        condition: what stands around the object in Eq. 8's x (`readings.CONDITIONS`).
        area: Eq. 10's M: the ``"hull"`` (for the anchored readings grown, and without V), the ``"visible"`` mask
            itself (Table 2's row without an area), or the part of the hull that is ``"feasible"``, where something can
            hide the object.
        sampling, points, judgement: sections 4.1 and 5.1, and what becomes of the masks.
        occluders: what can hide an object in a scene that is made for this model (`scene.Scene`).
    """

    crop: AroundObject | WholeImage = AroundObject()
    reading: Reading = Equation()  # noqa: RUF009 - frozen
    condition: Condition = Histogram()  # noqa: RUF009
    area: Area = "hull"
    sampling: Sampling = Sampling()
    points: Points = Points()
    judgement: Judgement = Judgement()
    occluders: Occluders = "off"

    def __post_init__(self) -> None:
        super().__post_init__()
        reading = self.reading
        for name, known in (("condition", [c.name for c in reading.conditions]), ("area", list(reading.areas))):
            value = getattr(self, name)
            value = value.name if isinstance(value, Value) else value
            if value not in known:
                raise ValueError(
                    f"{name}: the reading {reading.name} goes with {' or '.join(known)}, it does not use {value!r}"
                )

    def replace(self, **changes: Any) -> Settings:
        """A changed copy.

        Args:
            changes: by the setting's own name (``steps=8``), its path (``{"sampling.steps": 8}``) or its group
                (``sampling={"steps": 8}``). Of `crop`, `reading` and `condition` the value, its name
                (``reading="soft"``) or its name with settings (``reading={"soft": {"leakage": 0.2}}``). A new reading
                keeps what it shares with the old one, and brings a condition and area of its own where the present
                ones do not go with it.

        Raises:
            ValueError: an unknown setting, a value out of range, or a setting that the reading does not use.
        """
        whole = {name: change for name, change in changes.items() if name in _GROUPS}
        nested: dict[str, dict[str, Any]] = {}
        for name, change in changes.items():
            if name not in whole:
                group, own = _path(name)
                nested.setdefault(group, {})[own] = change
        after = {name: self._changed(name, change) for name, change in whole.items()}
        for group, values in nested.items():
            after[group] = after.get(group, getattr(self, group)).changed(f"the {group}", values)
        reading = after.get("reading", self.reading)
        if "condition" not in after and not isinstance(self.condition, reading.conditions):
            after["condition"] = reading.conditions[0]()
        if "area" not in after and self.area not in reading.areas:
            after["area"] = reading.areas[0]
        return dataclasses.replace(self, **after)

    def _changed(self, group: str, change: Any) -> Any:
        """A group's new value from whatever names it."""
        now, choices = getattr(self, group), VARIANTS.get(group)
        if choices is None:
            return now.changed(group, change) if isinstance(change, Mapping) and isinstance(now, Value) else change
        if isinstance(change, tuple(choices.values())):
            return change
        own: Any = {}
        if isinstance(change, Mapping) and len(change) == 1:
            change, own = next(iter(change.items()))
        if not isinstance(change, str) or change not in choices:
            raise ValueError(f"{group}: expected one of {', '.join(choices)}, got {change!r}")
        kind = choices[change]
        shared = {name: getattr(now, name) for name in hints(kind) if name in hints(type(now))}
        return kind(**shared).changed(f"the {group}", own or {})

    @staticmethod
    def parse(name: str, text: str) -> Any:
        """A setting's value from its text, for command lines.

        Raises:
            ValueError: unknown setting, or not of its type.
        """
        if name in _GROUPS:
            return text
        group, own = _path(name)
        return parsed(name, next(hints(kind)[own] for kind in _kinds(group) if own in hints(kind)), text)


#: Of these groups one of several values is chosen by name.
VARIANTS: dict[str, dict[str, type[Value]]] = {"crop": CROPS, "reading": READINGS, "condition": CONDITIONS}
_GROUPS = hints(Settings)


def _kinds(group: str) -> list[type[Value]]:
    """The values that a group can have; none for a plain setting."""
    kind = _GROUPS[group]
    return list(VARIANTS[group].values()) if group in VARIANTS else [kind] if isinstance(kind, type) else []


#: Where the nested settings live: the group by the setting's own name. Every name stands for one thing.
_GROUP_OF = {own: group for group in _GROUPS for kind in _kinds(group) for own in hints(kind)}


def _path(name: str) -> tuple[str, str]:
    """The group and own name of a nested setting."""
    group, dot, own = name.rpartition(".")
    if _GROUP_OF.get(own) is None or (dot and _GROUP_OF[own] != group):
        known = ", ".join([*_GROUPS, *_GROUP_OF])
        raise ValueError(f"unknown setting {name!r}; there are {known}")
    return _GROUP_OF[own], own


def preset(name: str, family: str = "") -> dict[str, Any]:
    """Named changes to any settings.

    ``paper``: what was published, nothing of ours: with the family's w, 20 steps, one sample.

    Args:
        family: of the model, as in its profile.

    Raises:
        ValueError: there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return {
        "crop": WholeImage(),
        "reading": Equation(leakage=0.3, object_noise=0.3),
        "condition": Histogram(),
        "area": "hull",
        "steps": 20,
        "guidance": GUIDANCE.get(family, 0.75),
        "samples": 1,
        "points": Points(positive=9, negative=0),
        "judgement": Judgement("predicted", keep_visible=False, answer="completion"),
        "occluders": "off",
    }


PRESETS = ("paper",)

#: The paper's Table 2: each row takes one component away.
TABLE_2: dict[str, dict[str, Any]] = {
    "without leakage": {"leakage": 1.0},
    "without background": {"condition": "black"},
    "without area": {"area": "visible"},
    "all components": {},
}
