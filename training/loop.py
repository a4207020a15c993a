"""One training loop for all stages: resumable, with averaged weights, a progress bar and a curve."""

from __future__ import annotations

import csv
import math
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel
from torch import nn
from tqdm import tqdm

CHECKPOINT_SECONDS = 120.0
WARMUP_STEPS = 100
EMA_DECAY = 0.999


@dataclass(frozen=True)
class Budget:
    """How long to train in total, earlier runs counted in: minutes, or steps when given."""

    minutes: float
    steps: int | None = None

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        return min(1.0, step / self.steps if self.steps is not None else seconds / 60 / self.minutes)


class Stage(ABC):
    """What one network learns.

    Attributes:
        name: its folder in the run.
        model: the network, on its device.
        learning_rate: at the top of the schedule.
    """

    name: str
    model: nn.Module
    learning_rate: float

    @abstractmethod
    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """The data of one step; runs in a thread beside the training."""

    @abstractmethod
    def loss(self, batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> torch.Tensor:
        """The scalar to minimise. `batch` is on the model's device, `generator` on the CPU."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the model (the loop puts the averaged weights in before) in its library's layout."""


def fit(stage: Stage, folder: Path, budget: Budget) -> None:
    """Train until the budget is spent, from where the last run in `folder` stopped.

    Writes `checkpoint.pt` (weights, averaged weights, optimiser, step, time), `loss.csv`, `loss.png` and, with
    `Stage.save`, the averaged model. Batches and noise follow from the step, so that no generator state is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(stage, folder)
    device = next(stage.model.parameters()).device
    stage.model.train()
    with ThreadPoolExecutor(1) as loader, _bar(stage.name, budget.progress(run.step, run.seconds)) as bar:
        upcoming = loader.submit(stage.batch, np.random.default_rng([run.step, 0]))
        saved = tick = time.monotonic()
        while (progress := budget.progress(run.step, run.seconds)) < 1:
            batch = tuple(tensor.to(device) for tensor in upcoming.result())
            upcoming = loader.submit(stage.batch, np.random.default_rng([run.step + 1, 0]))
            loss = run.update(batch, progress)
            run.seconds, tick = run.seconds + time.monotonic() - tick, time.monotonic()
            run.losses.append((run.step, run.seconds, loss))
            bar.set_postfix_str(f"step {run.step}, loss {np.mean([x[2] for x in run.losses[-50:]]):.4f}", refresh=False)
            bar.update(100 * progress - bar.n)
            if tick - saved > CHECKPOINT_SECONDS:
                run.save()
                saved = time.monotonic()
    run.save()


class _Run:
    """The state of a training run, and the file it is kept in."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage, self.folder = stage, folder
        self.parameters = [p for p in stage.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.ema = EMAModel(self.parameters, decay=EMA_DECAY, foreach=True)
        self.step, self.seconds = 0, 0.0
        self.losses: list[tuple[int, float, float]] = []  # (step, seconds, loss) since the last save
        if (folder / "checkpoint.pt").exists():
            self._load()

    def update(self, batch: tuple[torch.Tensor, ...], progress: float) -> float:
        """One step of the optimiser; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.learning_rate * min(1.0, (self.step + 1) / WARMUP_STEPS) * _cosine(progress)
        device = batch[0].device.type
        with torch.autocast(device, torch.bfloat16):
            loss = self.stage.loss(batch, torch.Generator().manual_seed(self.step))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.ema.step(self.parameters)
        self.step += 1
        return loss.item()

    def save(self) -> None:
        """Checkpoint, curve and averaged model."""
        state = {
            "model": self.stage.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        unfinished = self.folder / "checkpoint.pt.new"
        torch.save(state, unfinished)
        unfinished.replace(self.folder / "checkpoint.pt")  # a run killed while it writes keeps the old one
        with open(self.folder / "loss.csv", "a", newline="") as file:
            csv.writer(file).writerows((s, f"{t:.1f}", f"{v:.5f}") for s, t, v in self.losses)
        self.losses.clear()
        _draw_curve(self.folder / "loss.csv")
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        self.stage.save(self.folder)
        self.ema.restore(self.parameters)

    def _load(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", map_location="cpu", weights_only=True)
        self.stage.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.ema.to(self.parameters[0].device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


def _cosine(progress: float) -> float:
    """From 1 down to 0.02."""
    return 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2


def _draw_curve(table: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = np.loadtxt(table, delimiter=",", ndmin=2)
    width = max(1, len(rows) // 200)
    smooth = np.convolve(rows[:, 2], np.ones(width) / width, "valid")
    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.semilogy(rows[: len(smooth), 0] + width // 2, smooth)
    axes.set(xlabel="step", ylabel=f"loss, mean of {width}", title=table.parent.name)
    figure.savefig(table.with_suffix(".png"), dpi=100, bbox_inches="tight")
    pyplot.close(figure)


def _bar(name: str, progress: float) -> tqdm:
    layout = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed}<{remaining}, {postfix}"
    return tqdm(total=100, initial=100 * progress, desc=name, bar_format=layout)
