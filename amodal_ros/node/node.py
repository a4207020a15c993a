"""`AmodalNode`: image and label map in, AmodalInstanceArray out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from amodal_ros.msg import AmodalInstanceArray
from amodal_ros.node import mask_topics
from amodal_ros.node.annotations import image_annotations
from amodal_ros.node.base import BaseNode
from amodal_ros.node.diagnostics import Snapshot, input_complaints, statuses
from amodal_ros.node.inputs import Fit, no_hint, places
from amodal_ros.node.outgoing import image_message, instances_message
from amodal_ros.scene import Answer, Scene
from amodal_ros.scene.overlay import draw_overlay
from amodal_ros.stream import answerers
from amodal_ros.stream.intake import Count
from amodal_ros.stream.masks import label_info
from amodal_ros.stream.parameters import Parameters
from amodal_ros.stream.worker import Worker

TOPICS = ("image", "instance_mask", "detections", "depth", "label_info")


class AmodalNode(BaseNode[Parameters]):
    """The lifecycle node. Topics, parameters, drop reasons and diagnostics: ``docs/node.md``.

    Args:
        load: makes the answerer from the parameters, when the node becomes active.
        options: for `rclpy.node.Node`.

    Raises:
        ValueError: a parameter's value at start cannot be used.
    """

    _worker: Worker | None

    def __init__(self, load: Callable[[Parameters], answerers.Loaded] = answerers.load, **options: Any) -> None:
        self._load = load
        self._loaded: answerers.Loaded | None = None
        self._foxglove: Any = None  # the module foxglove_msgs.msg, where it is installed
        super().__init__("amodal_node", Parameters, TOPICS, **options)

    # --- lifecycle ------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Check the model's files and the masks' message packages; make the publishers."""
        answerers.check(self._chosen)
        mask_topics.check(self._chosen.masks)
        self.offer(AmodalInstanceArray, "~/instances", 5)
        self.offer(Image, "~/overlay", 1)
        try:
            import foxglove_msgs.msg as foxglove
        except ImportError:
            self.get_logger().info("no ~/annotations: foxglove_msgs is not installed")
        else:
            self._foxglove = foxglove
            self.offer(foxglove.ImageAnnotations, "~/annotations", 1)

    def load(self) -> None:
        """Load the model."""
        self._loaded = loaded = self._load(self._chosen)
        if self._ending.is_set() or not self.context.ok():
            raise RuntimeError("the process was told to end while the model loaded")
        loaded.answerer.start()

    def listen(self) -> str:
        """Subscribe to the inputs and answer."""
        parameters, loaded = self._chosen, self._loaded
        assert loaded is not None
        unused = {"depth": not parameters.use_depth, "detections": parameters.masks != "detections", "label_info": True}
        topics = tuple(topic for topic in TOPICS if not unused.get(topic, False))
        self.intake.open(
            topics,
            slop=round(parameters.pair_slop * 1e9),
            seconds=parameters.pair_buffer,
            size=parameters.pair_buffer_mb * 1_000_000,
        )
        worker = Worker(self.intake, loaded, self._answered, self._show, parameters, self._timings, self._log.warn)
        self.serve(worker)
        for topic in topics:
            hint = mask_topics.missing if topic == "instance_mask" else no_hint
            self.hear(topic, self._places(topic), size=mask_topics.size, hint=hint)
        self._hear_label_info(worker)
        return f"model {loaded.answerer.name}, device {loaded.device}"

    def _hear_label_info(self, worker: Worker) -> None:
        """The names of the masks' classes, where the segmenter publishes them and vision_msgs is installed."""

        def take(message: Any) -> None:
            self.intake.heed("label_info")
            worker.legend = label_info.read(message, partial(self.intake.flaw, "label_info"))

        try:
            where = mask_topics.label_info(self.resolve_topic_name("label_info"))
        except ValueError:
            self.get_logger().info("no label_info: vision_msgs is not installed")
        else:
            self.hear("label_info", where, take)

    def unload(self) -> None:
        """Free a model that no worker has."""
        if self._worker is None and self._loaded is not None:
            self._loaded.answerer.stop()
            self._loaded.free()

    def _fall_silent(self) -> None:
        super()._fall_silent()
        self._loaded = None  # the worker frees it, and nobody else may keep the model's memory

    # --- topics ---------------------------------------------------------------------------------------------

    def _places(self, topic: str) -> tuple[Fit, ...]:
        name = self.resolve_topic_name(topic)
        if topic == "instance_mask":
            return mask_topics.places(name, self._chosen.masks)
        if topic == "detections":
            return mask_topics.detections(name)
        return places(name, topic == "image" and self._chosen.image_transport == "compressed")

    def _answered(self, image: Image, scene: Scene, answers: list[Answer]) -> None:
        loaded = self._loaded
        if loaded is not None:  # else the node has become inactive meanwhile
            message = instances_message(image.header, scene.shape, loaded.answerer.name, answers)
            self.publish("~/instances", message)

    def _show(self, image: Image, scene: Scene, answers: list[Answer]) -> None:
        if self.wanted("~/overlay"):
            with self._timings.measure("overlay"):
                self.publish("~/overlay", image_message(image.header, draw_overlay(scene.image, answers)))
        if self.wanted("~/annotations"):
            with self._timings.measure("annotations"):
                self.publish("~/annotations", image_annotations(self._foxglove, image.header.stamp, answers))

    # --- telling --------------------------------------------------------------------------------------------

    def report(
        self, counts: dict[str, Count], since: float, before: dict[str, Count]
    ) -> tuple[list[DiagnosticStatus], Mapping[str, str]]:
        """Three statuses: inputs, answers, model."""
        snapshot = self._snapshot(counts, since, before)
        complaints = input_complaints(snapshot)
        return statuses(self.get_fully_qualified_name(), snapshot, complaints), complaints

    def _snapshot(self, counts: dict[str, Count], since: float, before: dict[str, Count]) -> Snapshot:
        loaded = self._loaded
        figures = loaded.answerer.diagnostics() if loaded else {}
        last_error = str(figures.get("last_error", ""))
        fresh = self.fresh_failures(
            {
                "live": (int(figures.get("worker.crashes", 0)), last_error),
                "completions": (int(figures.get("completions.failed", 0)), last_error),
            }
        )
        failures, _ = fresh.pop("completions")
        return Snapshot(
            **self.traffic(counts, since, before, fresh),
            model=loaded.answerer.name if loaded else self._chosen.model,
            device=loaded.device if loaded else "none",
            memory=loaded.memory() if loaded else 0,
            answerer=figures,
            allowed=0.0 if self._chosen.live else self._chosen.frame_budget,
            failures=failures,
        )
