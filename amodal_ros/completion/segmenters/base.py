"""What the pipeline asks of a promptable segmenter; each kind is one file that answers."""

from __future__ import annotations

from typing import Protocol

import torch


class Segmenter(Protocol):
    """Points in, candidate masks out."""

    kind: str

    @property
    def device(self) -> torch.device: ...

    def segment(
        self, images: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Candidate masks for one object per image.

        Args:
            images: (batch, 3, height, width) in [-1, 1].
            points: (batch, n, 2) as (x, y) in image pixels.
            labels: (batch, n), 1 on the object, 0 off it.

        Returns:
            logits (batch, k, height, width), the mask being where they are positive, and the segmenter's own
            predicted IoU (batch, k) in about [0, 1]; k candidates, usually three (part, object, whole).
        """
