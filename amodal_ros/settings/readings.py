"""The readings of Eq. 7, and what the condition image shows around the object. `docs/method.md` says why each exists.

Every choice is a small value that holds just what it uses, so nothing can be set that would have no effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from amodal_ros.settings.values import Value, number

Area = Literal["hull", "visible", "feasible"]


# --- section 4.2: what stands around the object in the condition image --------------------------------------------


@dataclass(frozen=True)
class Histogram(Value):
    """The paper's background: every pixel drawn from the object's colours, then blurred.

    Attributes:
        blur: sigma of the Gaussian blur as a fraction of the resolution, [0, 1].
    """

    name: ClassVar[str] = "histogram"
    blur: float = number(0.02, 0, 1)


@dataclass(frozen=True)
class Black(Value):
    """Nothing: Table 2's row without a background."""

    name: ClassVar[str] = "black"


@dataclass(frozen=True)
class Contrast(Value):
    """One plain colour far from the object's."""

    name: ClassVar[str] = "contrast"


@dataclass(frozen=True)
class Real(Value):
    """The image itself."""

    name: ClassVar[str] = "real"


Condition = Histogram | Black | Contrast | Real
CONDITIONS: dict[str, type[Value]] = {kind.name: kind for kind in (Histogram, Black, Contrast, Real)}


# --- section 4.1: what is blended after a step ----------------------------------------------------------------------


@dataclass(frozen=True)
class Reading(Value):
    """How Eq. 7 is read. What a reading does not say otherwise is the paper's.

    Attributes:
        conditions, areas: what goes with this reading; the first is taken where nothing else was asked for.
        keeps_visible: V's pixels are kept and the area lies around them; else the area is a hull that covers them.
    """

    conditions: ClassVar[tuple[type[Value], ...]] = (Histogram, Black, Contrast)
    areas: ClassVar[tuple[str, ...]] = ("hull", "feasible", "visible")
    keeps_visible: ClassVar[bool] = False

    @property
    def pixel_noise(self) -> float:
        """s of Eq. 9; 0 leaves the object's pixels as they are."""
        return 0.0

    def first_step(self, steps: int) -> int:
        """Where denoising begins: 0 is pure noise."""
        return 0

    def blend(self, mask: Any, gain: float = 1.0) -> tuple[Any, Any]:
        """M and s of Eq. 7: s * (M * z + (1 - M) * x_t) + (1 - s) * x_t.

        Args:
            mask: M on latent cells, a tensor of 0 and 1.
            gain: how much stronger s is inside M (`sampler.leakage_strength`).
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Equation(Reading):
    """Eq. 7 literally: outside M nothing can change.

    Attributes:
        leakage: s of Eq. 7, [0, 1]; 1 is Eq. 5, plain inpainting.
        object_noise: s of Eq. 9, [0, 1].
    """

    name: ClassVar[str] = "equation"
    leakage: float = number(0.3, 0, 1)
    object_noise: float = number(0.3, 0, 1)

    @property
    def pixel_noise(self) -> float:
        return self.object_noise

    def blend(self, mask: Any, gain: float = 1.0) -> tuple[Any, Any]:
        return mask, self._strength(mask, gain)

    def _strength(self, mask: Any, gain: float) -> Any:
        inside = min(1.0, self.leakage * gain)
        return self.leakage + (inside - self.leakage) * mask if inside != self.leakage else self.leakage


@dataclass(frozen=True)
class Soft(Equation):
    """Leaks everywhere: M acts only through the model's mask input ("pixels outside M can be changed")."""

    name: ClassVar[str] = "soft"

    def blend(self, mask: Any, gain: float = 1.0) -> tuple[Any, Any]:
        return 1.0, self._strength(mask, gain)


@dataclass(frozen=True)
class Start(Reading):
    """No blending: begins at x noised to level s, as image-to-image does ("30 % newly generated").

    Attributes:
        strength: s, the share of the steps that are taken, the last ones, [0, 1]; at few steps it comes in parts of
            1 / steps, and is at least one.
        object_noise: s of Eq. 9, [0, 1].
    """

    name: ClassVar[str] = "start"
    strength: float = number(0.3, 0, 1)
    object_noise: float = number(0.3, 0, 1)

    @property
    def pixel_noise(self) -> float:
        return self.object_noise

    def first_step(self, steps: int) -> int:
        return steps - max(1, min(steps, round(self.strength * steps)))

    def blend(self, mask: Any, gain: float = 1.0) -> tuple[Any, Any]:
        return 1.0, 1.0


@dataclass(frozen=True)
class Anchored(Reading):
    """Ours: leak where something is known. V is anchored, the area around it painted freely, without object noise.

    Attributes:
        area_growth: how far the area reaches past the hull, in units of the object's size, [0, 2].
    """

    name: ClassVar[str] = "anchored"
    areas: ClassVar[tuple[str, ...]] = ("feasible", "hull")
    keeps_visible: ClassVar[bool] = True
    area_growth: float = number(0.5, 0, 2)

    def blend(self, mask: Any, gain: float = 1.0) -> tuple[Any, Any]:
        return mask, 1.0


@dataclass(frozen=True)
class AnchoredReal(Anchored):
    """`Anchored` on the real crop: it sees the scene, and only what can hide the object may be painted over."""

    name: ClassVar[str] = "anchored_real"
    conditions: ClassVar[tuple[type[Value], ...]] = (Real,)
    areas: ClassVar[tuple[str, ...]] = ("feasible",)


READINGS: dict[str, type[Value]] = {kind.name: kind for kind in (Equation, Soft, Start, Anchored, AnchoredReal)}
