"""Every choice of the method, in the paper's order. `docs/method.md` says why each exists."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

from amodal_ros.scene.occluders import Occluders

Reading = Literal["equation", "soft", "start", "anchored", "anchored_real"]
Background = Literal["histogram", "black", "contrast"]
Area = Literal["hull", "visible", "feasible"]
Crop = Literal["object", "none"]
EmptyMask = Literal["known", "unknown"]
Choice = Literal["known", "predicted"]


@dataclass(frozen=True)
class Settings:
    """How one object is completed. Frozen; `replace` makes a changed copy, and every value is checked.

    Attributes:
        crop: ``"object"`` works on a square around the visible mask; ``"none"`` squeezes the whole image (the paper).
        margin: what the square adds on each side of the mask's box, as a fraction of the box's longer side, [0, 4].
        reading: which reading of Eq. 7 the sampler uses (`docs/method.md`).
        leakage: s of Eq. 7 in [0, 1]; 1 is Eq. 5, plain inpainting.
        object_noise: s of Eq. 9 in [0, 1].
        background: Eq. 8's background pixels: drawn from the object's colour ``"histogram"`` (the paper), ``"black"``,
            or a plain colour in ``"contrast"`` to the object.
        blur: sigma of the background's Gaussian blur, as a fraction of the resolution, [0, 1].
        area: Eq. 10's M: the ``"hull"`` (for the anchored readings grown, and without V), the ``"visible"`` mask
            itself, or the part of the grown hull that is ``"feasible"``, where something can hide the object.
        area_growth: how far the anchored readings' area reaches past the hull, in units of the object's size, [0, 2].
        guidance: w of Eq. 11, >= 0.
        empty_mask: what an empty M means in Eq. 11: nothing is masked (``"known"``) or nothing is known.
        steps: denoising steps, >= 1.
        positive_points: points drawn from V for the segmenter, >= 1.
        negative_points: points drawn from what is known not to be the object, >= 0.
        choice: which of the segmenter's masks counts: the one that explains the ``"known"`` pixels best, or the
            segmenter's own ``"predicted"`` IoU (the paper).
        occluders: what can hide an object (`scene.occluders.Surroundings`).
        keep_visible: the answer always contains V and only what is connected to it.
        keep_hull: the answer always contains the bounded hull, the geometric answer (`scene.occluders`): a model
            that paints too little never takes away what the masks alone tell.
        samples: completions drawn per object; the majority of them is the answer, >= 1.
        fallback: score below which the bounded hull is answered instead, [0, 1]; 0 never.
        max_batch: objects times samples that go through the denoiser together, >= 1.
    """

    crop: Crop = "object"
    margin: float = 0.5
    reading: Reading = "anchored"
    leakage: float = 0.3
    object_noise: float = 0.3
    background: Background = "histogram"
    blur: float = 0.02
    area: Area = "feasible"
    area_growth: float = 0.5
    guidance: float = 0.75
    empty_mask: EmptyMask = "known"
    steps: int = 20
    positive_points: int = 9
    negative_points: int = 9
    choice: Choice = "known"
    occluders: Occluders = "instances"
    keep_visible: bool = True
    keep_hull: bool = True
    samples: int = 1
    fallback: float = 0.5
    max_batch: int = 8

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ValueError(f"{name}: expected a number in [{low}, {high}], got {value!r}")
            if _HINTS[name] is int and not isinstance(value, int):
                raise ValueError(f"{name}: expected a whole number, got {value!r}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("keep_visible", "keep_hull"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: expected true or false, got {getattr(self, name)!r}")

    def replace(self, preset: str | None = None, **changes: Any) -> Settings:
        """A changed copy: first the preset, then the single changes.

        Raises:
            ValueError: unknown preset or setting, or a value out of range.
        """
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
        changes = {**(PRESETS[preset] if preset else {}), **changes}
        unknown = set(changes) - set(_HINTS)
        if unknown:
            raise ValueError(f"unknown setting {sorted(unknown)[0]!r}; there are {', '.join(_HINTS)}")
        return dataclasses.replace(self, **changes)

    @staticmethod
    def parse(name: str, text: str) -> Any:
        """A setting's value from its text, for command lines and parameter files."""
        if name not in _HINTS:
            raise ValueError(f"unknown setting {name!r}; there are {', '.join(_HINTS)}")
        kind = _HINTS[name]
        try:
            if kind is bool:
                return {"true": True, "false": False}[text.lower()]
            return kind(text) if kind in (int, float) else text
        except (ValueError, KeyError):
            raise ValueError(f"{name}: expected {kind.__name__}, got {text!r}") from None


_HINTS = get_type_hints(Settings)
_CHOICES = {name: get_args(hint) for name, hint in _HINTS.items() if get_args(hint)}
_RANGES: dict[str, tuple[float, float]] = {
    "margin": (0, 4),
    "leakage": (0, 1),
    "object_noise": (0, 1),
    "blur": (0, 1),
    "area_growth": (0, 2),
    "guidance": (0, 20),
    "steps": (1, 1000),
    "positive_points": (1, 64),
    "negative_points": (0, 64),
    "samples": (1, 64),
    "fallback": (0, 1),
    "max_batch": (1, 256),
}

#: ``paper``: what was published, without anything of ours.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "crop": "none",
        "reading": "equation",
        "leakage": 0.3,
        "object_noise": 0.3,
        "background": "histogram",
        "area": "hull",
        "steps": 20,
        "positive_points": 9,
        "negative_points": 0,
        "choice": "predicted",
        "occluders": "off",
        "keep_visible": False,
        "keep_hull": False,
        "samples": 1,
        "fallback": 0.0,
    }
}

#: The paper's Table 2: each row takes one component away.
TABLE_2: dict[str, dict[str, Any]] = {
    "without leakage": {"leakage": 1.0},
    "without background": {"background": "black"},
    "without area": {"area": "visible"},
    "all components": {},
}
