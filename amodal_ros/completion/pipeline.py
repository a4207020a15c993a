"""The method, batched: visible masks in, amodal masks out. Reads like the paper's section 4."""

from __future__ import annotations

import ctypes
import gc
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amodal_ros.completion.area import inpainting_area
from amodal_ros.completion.backends import Backend, load_backend
from amodal_ros.completion.backends.autoencoder import Autoencoder
from amodal_ros.completion.backends.loading import first_line
from amodal_ros.completion.condition import background_pixels, condition_image, object_pixels, to_signed, to_uint8
from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.completion.device import choose_device, choose_dtype, describe, is_out_of_memory
from amodal_ros.completion.hidden import View
from amodal_ros.completion.inputs import check_things, scene_of
from amodal_ros.completion.points import draw_points
from amodal_ros.completion.sampler import inpaint, renewals
from amodal_ros.completion.segmenters import Segmenter, load_segmenter
from amodal_ros.completion.tasks import Call, Steps, Task, choose_candidate, completion_of, failure_of, told_by
from amodal_ros.completion.trace import Trace
from amodal_ros.errors import Interrupted, ModelError
from amodal_ros.models import find_model
from amodal_ros.models.layout import family_of
from amodal_ros.models.profiles import is_hub_id
from amodal_ros.scene import Completion, Mask, Scene
from amodal_ros.settings.method import AroundObject, Settings, preset
from amodal_ros.settings.readings import Real
from amodal_ros.settings.switches import SWITCH_NAMES

log = logging.getLogger(__name__)

#: How many denoising steps a trace shows.
TRACED_STEPS = 5
#: After so many full batches of the size that fits into memory, twice the size is tried again.
REGAIN = 32


class AmodalPipeline:
    """Completes the hidden parts of objects with a diffusion inpainting model and a promptable segmenter.

    >>> pipeline = AmodalPipeline.from_pretrained("embedded")          # doctest: +SKIP
    >>> result, = pipeline.complete(image, [visible], seed=0)          # doctest: +SKIP
    >>> result.amodal.full(*image.shape[:2]), result.occlusion_ratio   # doctest: +SKIP
    """

    def __init__(
        self, backend: Backend, segmenter: Segmenter, settings: Settings | None = None, name: str = ""
    ) -> None:
        self.backend = backend
        self.segmenter = segmenter
        self.settings = settings or Settings()
        self.name = name or backend.family
        #: Objects that fit into the device's memory together, while it was found that `Sampling.max_batch` do not.
        self.batch_limit: int | None = None
        self._fitted = 0  # full batches since the limit was set

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        segmenter: str | Path | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        resolution: int | None = None,
        **changes: Any,
    ) -> AmodalPipeline:
        """Load a model. Nothing is downloaded: what is not on this machine is an error that says how to get it.

        Args:
            model: a profile's name (``"embedded"``, ``"sdxl"``), a profile file, a pipeline's folder in the layout of
                `diffusers`, or a hub id that was downloaded before.
            segmenter: a folder of SAM or SAM 2, a ``.pth`` checkpoint or a hub id; by default the profile's, which by
                default is ``segmenter/`` inside the model's folder.
            device: by default a CUDA device if there is one, else the CPU.
            dtype: by default the profile's for the device (`Profile.dtype`, `Profile.cpu_dtype`).
            resolution: pixels along one side; by default the model's own.
            changes: changes to the profile's `Settings` and `Switches` by name, and ``preset``.

        Raises:
            ModelError: the model or one of its components cannot be used; the message names it.
            ValueError: a setting, switch, device or dtype that cannot be.
        """
        found = find_model(model, segmenter)
        profile = found.profile
        switches = {name: changes.pop(name) for name in SWITCH_NAMES & changes.keys()}
        settings = _changed(profile.settings, family_of(found.folder), **changes)
        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(dtype, chosen_device, profile.dtype, profile.cpu_dtype)
        try:
            pipeline = cls(
                load_backend(
                    found.folder,
                    chosen_device,
                    chosen_dtype,
                    resolution or profile.resolution,
                    profile.switches.replace(**switches),
                ),
                load_segmenter(found.segmenter, chosen_device, chosen_dtype),
                settings,
                profile.name,
            )
        except ModelError as error:
            if any(map(is_hub_id, profile.places.values())):
                hint = f"Should the copy be incomplete: `amodal models download {model}` fetches what is missing"
                raise ModelError(f"{error}. {hint}") from error
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise ModelError(f"{profile.name}: does not fit into memory ({describe(chosen_device)})") from error
            raise
        renewals(pipeline.backend, settings)  # settings that cannot work are told now, not with the first object
        if profile.switches.replace(**switches).compile:
            pipeline.warm_up()
        return pipeline

    def changed(self, **changes: Any) -> Settings:
        """The pipeline's settings with changes by name (`Settings.replace`), and ``preset``, which comes first.

        Raises:
            ValueError: unknown preset or setting, a value out of range, or a setting that the reading does not use.
        """
        return _changed(self.settings, self.backend.family, **changes)

    def complete(
        self,
        scene: Scene | np.ndarray,
        visible: Sequence[Mask] = (),
        context: Sequence[Mask] = (),
        *,
        which: Sequence[int] | None = None,
        seed: int = 0,
        on_error: str = "raise",
        should_stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int, int], None] | None = None,
        trace: bool = False,
        **changes: Any,
    ) -> list[Completion | Any]:  # Any: the None of on_error="skip", which other calls need not expect
        """Amodal masks for things of a scene: ``complete(scene, which=[3, 7])``.

        Or of an image and masks: ``complete(image, visible, context)``, RGB uint8 (height, width, 3) and bool (height,
        width) arrays or `MaskRegion`. Then the masks in `visible` are completed and are each other's context, and what
        can hide them is the setting `occluders`. A scene says that itself, unless the call changes it.

        Args:
            which: positions of the things to complete; by default all.
            seed: fixes every random draw. Every object draws the same way, whatever its place in the call.
            on_error: ``"raise"``, or ``"skip"``: a bad mask gives None in its place, an object that failed is
                VISIBLE_ONLY and says why (`Completion.error`), both logged; nothing else is lost.
            should_stop: asked before every denoising step.
            progress: called with (denoising steps done, steps in all).
            trace: keep what happened on the way (`Completion.trace`).
            changes: to `settings`, for this call (`changed`).

        Returns:
            One `Completion` per thing, in the order of `which`.

        Raises:
            ValueError: a bad image, mask, position or setting.
            Interrupted: `should_stop` said yes; `Interrupted.results` holds what was done.
        """
        settings = self.changed(**changes)
        if not isinstance(scene, Scene):
            scene = scene_of(scene, visible, context, settings.occluders, on_error)
        elif changes.keys() & {"occluders", "preset"}:
            scene = scene.replace(occluders=settings.occluders)
        call = Call(scene, settings, seed, trace, renewals(self.backend, settings))
        which = range(len(scene.things)) if which is None else which
        results: dict[int, Completion] = {}

        def fail(i: int, error: Exception) -> None:
            if on_error == "raise":
                raise error
            log.warning("%s: the completion of object %d failed: %s", self.name, i, first_line(error))
            results[i] = failure_of(call.scene, i, error)

        def conclude() -> None:
            whole = {i: samples for i, samples in painted.items() if len(samples) == settings.sampling.samples}
            told = told_by(scene, whole)
            for i, samples in whole.items():
                try:
                    results[i] = completion_of(told, samples, call)
                except Exception as error:
                    fail(i, error)

        tasks: list[Task] = []
        chosen = check_things(scene, which, on_error)
        if not all(map(scene.unoccluded, chosen)):
            scene.image  # noqa: B018 - read here: an image that cannot be read is no object's failure
        for i in chosen:
            try:
                if scene.unoccluded(i):
                    results[i] = scene.geometric(i)
                else:
                    tasks += [self._task(call, i, k) for k in range(settings.sampling.samples)]
            except Exception as error:
                fail(i, error)

        steps = Steps(settings, should_stop, progress)
        painted: dict[int, list[Task]] = {}
        alone = 0  # so many tasks are done one by one, since they failed together
        while tasks:
            size = 1 if alone else min(settings.sampling.max_batch, self.batch_limit or settings.sampling.max_batch)
            batch = tasks[:size]
            steps.plan(math.ceil(len(tasks) / size))
            try:
                images = self._paint(batch, settings, steps)  # section 4.1
                self._segment(batch, images, call)
                self._fits(len(batch), settings.sampling.max_batch)
            except Interrupted:
                conclude()
                raise Interrupted([results.get(i) for i in which]) from None
            except Exception as error:
                if is_out_of_memory(error) and len(batch) > 1:
                    self._halve(len(batch))
                    continue
                if is_out_of_memory(error):
                    what = f"{self.name}: one object at {self.backend.resolution} px does not fit into memory"
                    error = ModelError(f"{what} ({describe(self.backend.device)})")
                if on_error == "raise":
                    raise error
                if len(batch) > 1:
                    alone = len(batch)
                    continue
                batch[0].error = error
            tasks, alone = tasks[size:], max(0, alone - 1)
            for task in batch:
                painted.setdefault(task.index, []).append(task)
        conclude()
        return [results.get(i) for i in which]

    def warm_up(self) -> None:
        """Complete made-up objects in batches of every size, so that no later call waits for a compiler: what was
        compiled for some batch sizes was seen to be compiled anew for others."""
        side = 64
        image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        visible = np.zeros((side, side), bool)
        visible[16:40, 16:40] = True
        steps = 1 if self.backend.has_mask_input else 2  # the fewest that work
        for count in range(1, self.settings.sampling.max_batch + 1):
            self.complete(image, [visible] * count, occluders="off", reading="equation", steps=steps, samples=1)

    def before_layers(self, do: Callable[[], None]) -> None:
        """Have something done before every layer of the networks from now on: what works behind something more urgent
        can stand back for it within a millisecond. On a CPU only, where the two share caches and cores; a compiled
        network is one layer, which it would have to be compiled anew for."""
        if self.backend.device.type != "cpu":
            return
        networks = [network for part in (self.backend, self.segmenter) for network in _networks(part)]
        networks = [network for network in networks if network._compiled_call_impl is None]
        for layer in {module for network in networks for module in network.modules() if not list(module.children())}:
            layer.register_forward_pre_hook(lambda *_: do())

    def free(self) -> None:
        """Give the model's memory back, the device's and the process's; the pipeline cannot be used afterwards."""
        for part in ("backend", "segmenter"):
            self.__dict__.pop(part, None)
        gc.collect()  # modules refer to themselves
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        with suppress(OSError, AttributeError):  # glibc keeps what small tensors took until it is asked
            ctypes.CDLL(None).malloc_trim(0)

    def _fits(self, count: int, most: int) -> None:
        """So many objects fit into memory together. That more did not may have been the moment's fault: try again."""
        if self.batch_limit is None or count < self.batch_limit:
            return
        self._fitted += 1
        if self._fitted >= REGAIN:
            self._fitted, self.batch_limit = 0, 2 * self.batch_limit
            if self.batch_limit >= most:
                self.batch_limit = None

    def _halve(self, failed: int) -> None:
        """Remember that `failed` objects do not fit into memory together."""
        self.batch_limit, self._fitted = failed // 2, 0
        log.warning(
            "%s: %d objects at once do not fit into memory (%s); going on with %d",
            self.name,
            failed,
            describe(self.backend.device),
            self.batch_limit,
        )
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # --- section 4, stage by stage --------------------------------------------------------------------------

    def _task(self, call: Call, i: int, sample: int) -> Task:
        """Sections 4.2 and 4.3 for one object: its crop, condition image, area, noise and points."""
        scene, settings = call.scene, call.settings
        rng = np.random.default_rng([call.seed, sample])
        mask = scene.masks[i]
        if isinstance(settings.crop, AroundObject):
            crop = ObjectCrop.around(mask, settings.crop.margin, self.backend.resolution)
        else:
            crop = ObjectCrop.whole(*scene.shape, self.backend.resolution)
        pixels = crop.image(scene.image)
        view = View.of(scene, i, crop)
        visible, feasible, outside = view.visible, view.feasible, view.outside

        signed = to_signed(pixels)
        if isinstance(settings.condition, Real):
            x = signed
        else:
            background = background_pixels(signed, visible, settings.condition, rng)
            x = condition_image(
                visible, object_pixels(signed, settings.reading.pixel_noise, rng), background
            )  # Eq. 8, 9
        area = inpainting_area(visible, feasible, outside, settings)  # Eq. 10
        latent_noise = rng.standard_normal(self.backend.latent_shape, dtype=np.float32)
        further = np.random.default_rng([call.seed, sample, 1])  # of its own, so that all other draws stay
        fresh = further.standard_normal((call.renewals, *self.backend.latent_shape), dtype=np.float32)
        points, labels = draw_points(visible, feasible, outside, settings.points, rng)
        task = Task(i, sample, crop, view, x, area, latent_noise, fresh, points, labels)
        if call.trace:
            task.trace = Trace(crop, pixels, visible, to_uint8(x), area, feasible, points=points, labels=labels)
        return task

    @torch.inference_mode()
    def _paint(self, batch: list[Task], settings: Settings, steps: Steps) -> torch.Tensor:
        """Section 4.1 for a batch: images (batch, 3, r, r) in [-1, 1]."""
        backend = self.backend
        image = _to_device([t.condition.transpose(2, 0, 1) for t in batch], backend)
        area = _to_device([t.area[None] for t in batch], backend)
        noise = _to_device([t.noise for t in batch], backend)
        fresh = _to_device([t.fresh for t in batch], backend).unbind(1)
        guesses: list[tuple[int, torch.Tensor]] = []
        observe = (lambda step, clean: guesses.append((step, clean))) if batch[0].trace else None
        images = inpaint(backend, image, area, noise, settings, steps.between, observe, fresh)
        for task, finite in zip(batch, torch.isfinite(images).flatten(1).all(1).tolist()):
            if not finite:
                task.error = self._not_finite("decoder")
        if batch[0].trace:
            self._trace_steps(batch, guesses, images)
        return images

    @torch.inference_mode()
    def _segment(self, batch: list[Task], images: torch.Tensor, call: Call) -> None:
        """Points prompt the segmenter on what was painted; the best candidate becomes the task's guess."""
        # Objects without known background have no points off the object; prompts of one length share a pass.
        for length in sorted({len(t.points) for t in batch}):
            rows = [k for k, t in enumerate(batch) if len(t.points) == length and t.error is None]
            if not rows:
                continue
            points = torch.from_numpy(np.stack([batch[k].points for k in rows]))
            labels = torch.from_numpy(np.stack([batch[k].labels for k in rows]))
            logits, predicted = self.segmenter.segment(images[rows], points, labels)
            for k, task_logits, task_predicted in zip(rows, logits.cpu().numpy(), predicted.cpu().numpy()):
                if np.isfinite(task_logits).all() and np.isfinite(task_predicted).all():
                    choose_candidate(batch[k], task_logits, task_predicted, call)
                else:
                    batch[k].error = self._not_finite("segmenter")

    def _not_finite(self, part: str) -> ModelError:
        return ModelError(
            f"{self.name}: the {part} returned NaN or infinity at {self.backend.dtype}; try another dtype"
        )

    def _trace_steps(self, batch: list[Task], guesses: list[tuple[int, torch.Tensor]], images: torch.Tensor) -> None:
        traces = [task.trace for task in batch if task.trace is not None]
        shown = sorted({round(p) for p in np.linspace(0, len(guesses) - 1, TRACED_STEPS)})
        for step, clean in (guesses[k] for k in shown):
            for trace, picture in zip(traces, self.backend.decode(clean)):
                trace.steps.append((step, _picture(picture)))
        for trace, picture in zip(traces, images):
            trace.painted = _picture(picture)


def _to_device(arrays: list[np.ndarray], backend: Backend) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32)).to(backend.device, backend.dtype)


def _picture(image: torch.Tensor) -> np.ndarray:
    return to_uint8(image.float().cpu().numpy().transpose(1, 2, 0))


def _changed(settings: Settings, family: str, **changes: Any) -> Settings:
    name = changes.pop("preset", None)
    return (settings.replace(**preset(name, family)) if name is not None else settings).replace(**changes)


def _networks(part: object) -> Iterator[torch.nn.Module]:
    """The networks of a backend or a segmenter."""
    for value in vars(part).values():
        if isinstance(value, torch.nn.Module):
            yield value
        elif isinstance(value, Autoencoder):
            yield from _networks(value)
