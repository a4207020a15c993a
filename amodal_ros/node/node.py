"""`AmodalNode`: image and label map in, AmodalInstanceArray out. Callbacks only store; one worker answers."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNodeMixin, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from amodal_ros.messages import nanoseconds
from amodal_ros.msg import AmodalInstanceArray
from amodal_ros.node import answerers, parameters
from amodal_ros.node.diagnostics import Snapshot, statuses
from amodal_ros.node.intake import Intake
from amodal_ros.node.logs import Throttled
from amodal_ros.node.messages import image_message, instances_message
from amodal_ros.node.timings import Timings
from amodal_ros.node.worker import Worker
from amodal_ros.scene import Answer, Frame
from amodal_ros.scene.overlay import draw_overlay

TOPICS = ("image", "instance_mask", "depth")
#: Transitions wait this long for the worker to notice; after that it ends on its own (seconds).
PATIENCE = 0.2
#: Activation waits this long for a worker that still ends (seconds).
HANDOVER = 30.0
DIAGNOSTICS_PERIOD = 1.0

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class AmodalNode(LifecycleNodeMixin, Node):
    """The lifecycle node. Topics, parameters, drop reasons and diagnostics: ``docs/node.md``.

    Args:
        prepare: makes the answerer from the parameters.
        options: for `rclpy.node.Node`.

    Raises:
        ValueError: a parameter's value at start cannot be used.
    """

    def __init__(self, prepare: answerers.Prepare = answerers.prepare, **options: Any) -> None:
        Node.__init__(self, "amodal_node", **options)
        # Transitions load models, and a report waits for the answerer's figures. With groups of their own the other
        # callbacks go on meanwhile; `rclpy.lifecycle.LifecycleNode` would not let us choose one.
        self._transitions, self._reports = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self.slow = (self._transitions, self._reports)  #: for `NodeExecutor`
        LifecycleNodeMixin.__init__(self, callback_group=self._transitions)
        self._inputs = MutuallyExclusiveCallbackGroup()
        self._settings = parameters.declare(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._prepare = prepare
        self._log = Throttled(self.get_logger())
        self.intake = Intake(TOPICS, self._on_drop)  #: what came in and what became of it
        self._timings = Timings()
        self._qos_incompatible: Counter[str] = Counter()
        self._loaded: answerers.Loaded | None = None
        self._worker: Worker | None = None
        self._input_subscriptions: list = []
        self._topic_names = {topic: self.resolve_topic_name(topic) for topic in TOPICS}
        self._instances: LifecyclePublisher[AmodalInstanceArray] | None = None
        self._overlay: LifecyclePublisher[Image] | None = None
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # timers go on when simulated time stands still
        self._reported = (time.monotonic(), self.intake.counts())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(DIAGNOSTICS_PERIOD, self._report, callback_group=self._reports, clock=self._steady)
        if self._settings.autostart:
            self._starter = self.create_timer(0.0, self._start, callback_group=self._transitions, clock=self._steady)

    # --- lifecycle ------------------------------------------------------------------------------------------
    # rclpy swallows what a transition callback raises, so each one catches, logs and fails by itself.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check parameters and files; make the publishers."""
        try:
            self._prepare(self._settings, lambda: self._settings)
            self._instances = self.create_lifecycle_publisher(AmodalInstanceArray, "~/instances", _qos("reliable", 5))
            self._overlay = self.create_lifecycle_publisher(Image, "~/overlay", _qos("reliable", 1))
            return super().on_configure(state)
        except Exception as error:
            self.get_logger().error(f"cannot configure: {error}")
            return FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and listen."""
        try:
            self._join(HANDOVER)
            loaded = self._prepare(self._settings, lambda: self._settings)()
            if not self.context.ok():  # the process was told to end while the model loaded
                loaded.free()
                return FAILURE
            try:
                loaded.answerer.start()
            except Exception:
                loaded.free()
                raise
            super().on_activate(state)
            self._listen(loaded)
        except Exception as error:
            self.get_logger().error(f"cannot activate: {error}")
            return FAILURE
        self.get_logger().info(f"active: model {loaded.answerer.name}, device {loaded.device}")
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening, interrupt what runs, give the model's memory back."""
        self._fall_silent()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take the publishers away."""
        self._unpublish()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state."""
        self._fall_silent()
        self._unpublish()
        return SUCCESS

    def close(self) -> None:
        """End the worker before the process does, without any transition."""
        self._fall_silent()
        self._join(HANDOVER)

    def _start(self) -> None:
        self._starter.cancel()
        if not (self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS) and self.context.ok():
            name = self.get_fully_qualified_name()
            self.get_logger().warn(
                f"not active; mend the cause, then: ros2 lifecycle set {name} configure (and activate)"
            )

    def _listen(self, loaded: answerers.Loaded) -> None:
        settings = self._settings
        topics = TOPICS if settings.use_depth else TOPICS[:2]
        self._loaded, self._timings = loaded, Timings()
        self.intake.open(
            topics,
            slop=round(settings.pair_slop * 1e9),
            seconds=settings.pair_buffer,
            size=settings.pair_buffer_mb * 1_000_000,
        )
        self._worker = Worker(
            self.intake, loaded, self._publish, self._show, lambda: self._settings, self._timings, self._log.warn
        )
        self._worker.start()
        image_type = CompressedImage if settings.image_transport == "compressed" else Image
        for topic in topics:
            self._subscribe(topic, image_type if topic == "image" else Image)

    def _fall_silent(self) -> None:
        for subscription in self._input_subscriptions:
            self.destroy_subscription(subscription)
        self._input_subscriptions = []
        self.intake.close()
        if self._worker is not None:
            self._worker.interrupt()
            self._worker.join(PATIENCE)

    def _join(self, seconds: float) -> None:
        if self._worker is not None:
            self._worker.join(seconds)
            if self._worker.is_alive():
                raise RuntimeError(f"the completion that was interrupted has not ended for {seconds:.0f} s")
            self._worker = None

    def _unpublish(self) -> None:
        for publisher in (self._instances, self._overlay):
            if publisher is not None:
                self.destroy_lifecycle_publisher(publisher)
        self._instances = self._overlay = None

    # --- topics ---------------------------------------------------------------------------------------------

    def _subscribe(self, topic: str, kind: type) -> None:
        def store(message: Image | CompressedImage) -> None:
            self.intake.offer(topic, nanoseconds(message.header.stamp), message, len(message.data))

        def incompatible(event: Any) -> None:
            self._qos_incompatible[topic] += event.total_count_change
            name = self._topic_names[topic]
            self._log.warn(
                f"qos.{topic}",
                f"a publisher on {name} offers another {event.last_policy_kind.name} than requested: nothing can be "
                f"received from it; see the parameters qos_overrides.{name}.subscription.*",
            )

        subscription = self.create_subscription(
            kind,
            topic,
            store,
            _qos("best_effort", 5),
            callback_group=self._inputs,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._input_subscriptions.append(subscription)

    def _publish(self, image: Image, frame: Frame, answers: list[Answer]) -> None:
        assert self._loaded is not None and self._instances is not None
        name = self._loaded.answerer.name
        self._instances.publish(instances_message(image.header, frame.shape, name, answers))

    def _show(self, image: Image, frame: Frame, answers: list[Answer]) -> None:
        assert self._overlay is not None
        if self._overlay.get_subscription_count():
            with self._timings.measure("overlay"):
                self._overlay.publish(image_message(image.header, draw_overlay(frame.image, answers)))

    # --- parameters -----------------------------------------------------------------------------------------

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        values = {p.name: p.value for p in changes if p.name in parameters.OPTIONS}
        try:
            self._settings = parameters.changed(self._settings, values, bool(self._input_subscriptions))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    # --- telling --------------------------------------------------------------------------------------------

    def _on_drop(self, topic: str, reason: str, text: str) -> None:
        if text:
            self._log.warn(f"{topic}.{reason}", text)

    def _report(self) -> None:
        """Diagnostics, in every lifecycle state."""
        self.intake.expire()
        now, counts = time.monotonic(), self.intake.counts()
        before, self._reported = self._reported, (now, counts)
        message = DiagnosticArray(status=statuses(self.get_name(), self._snapshot(counts, *before)))
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _snapshot(self, counts: dict, since: float, before: dict) -> Snapshot:
        worker, loaded = self._worker, self._loaded
        stamp = worker.answered_stamp if worker else None
        now = time.monotonic()
        return Snapshot(
            state=self._state_machine.current_state[1],
            counts=counts,
            before=before,
            seconds=max(now - since, 1e-3),
            silence=self.intake.silence(),
            newest=self.intake.newest(),
            unpaired=now - self.intake.last_pair,
            topics=self._topic_names,
            qos_incompatible=self._qos_incompatible,
            time_jumps=worker.time_jumps if worker else 0,
            objects=worker.objects if worker else {},
            staleness=(self.get_clock().now().nanoseconds - stamp) / 1e9 if stamp is not None else None,
            timings=self._timings.percentiles(),
            model=loaded.answerer.name if loaded else self._settings.model,
            device=loaded.device if loaded else "none",
            memory=loaded.memory() if loaded else 0,
            answerer=loaded.answerer.diagnostics() if loaded else {},
        )


def _qos(reliability: str, depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy[reliability.upper()])
