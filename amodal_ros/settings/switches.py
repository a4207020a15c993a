"""Memory and speed: what changes how a model runs, never what the method does. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

QUANTIZATIONS = ("", "int8", "fp8")


@dataclass(frozen=True)
class Switches:
    """How a model is loaded and run. What costs nothing (the dtype of the device, scaled-dot-product attention, dropped
    text encoders, channels-last) is always on and has no switch.

    Attributes:
        scheduler: changes to the folder's scheduler configuration, such as ``{"timestep_spacing": "trailing"}``.
        vae: folder of an autoencoder that replaces the model's own.
        decoder: folder of an `AutoencoderTiny` of the same latents that decodes in place of the VAE.
        vae_tiling: encode and decode in tiles: less memory, more time, faint seams.
        compile: ``torch.compile`` the denoiser; loading then takes minutes, and ends warmed up. What was compiled is
            kept for the next start.
        quantize: ``"int8"`` or ``"fp8"`` stores the denoiser's linear layers in 8 bits (needs the package torchao).
        lora: file or folder of a LoRA adapter, merged into the denoiser.
    """

    scheduler: Mapping[str, Any] = field(default_factory=dict)
    vae: str = ""
    decoder: str = ""
    vae_tiling: bool = False
    compile: bool = False
    quantize: str = ""
    lora: str = ""

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            kind = {"bool": bool, "str": str}.get(str(option.type), Mapping)
            if not isinstance(value, kind):
                raise ValueError(f"{option.name}: expected {kind.__name__.lower()}, got {value!r}")
        if self.quantize not in QUANTIZATIONS:
            raise ValueError(f"quantize: expected one of {', '.join(map(repr, QUANTIZATIONS))}, got {self.quantize!r}")

    def replace(self, **changes: Any) -> Switches:
        """A changed copy.

        Raises:
            ValueError: an unknown switch or a value of the wrong kind.
        """
        unknown = sorted(set(changes) - SWITCH_NAMES)
        if unknown:
            raise ValueError(f"unknown switch {unknown[0]!r}; there are {', '.join(sorted(SWITCH_NAMES))}")
        return dataclasses.replace(self, **changes)


SWITCH_NAMES = frozenset(option.name for option in dataclasses.fields(Switches))
