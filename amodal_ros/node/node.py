"""`AmodalNode`: image and label map in, AmodalInstanceArray out. Callbacks only store; one worker answers."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from shutil import which
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNodeMixin, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from amodal_ros.messages import nanoseconds
from amodal_ros.msg import AmodalInstanceArray
from amodal_ros.node.declaring import declare
from amodal_ros.node.diagnostics import Snapshot, input_complaints, statuses
from amodal_ros.node.inputs import REVIEW_PERIOD, Input, places
from amodal_ros.node.logs import Throttled
from amodal_ros.node.outgoing import image_message, instances_message
from amodal_ros.scene import Answer, Scene
from amodal_ros.scene.overlay import draw_overlay
from amodal_ros.stream import answerers
from amodal_ros.stream.intake import Intake
from amodal_ros.stream.parameters import OPTIONS, Parameters, changed
from amodal_ros.stream.timings import Timings
from amodal_ros.stream.worker import Worker

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
        load: makes the answerer from the parameters, when the node becomes active.
        options: for `rclpy.node.Node`.

    Raises:
        ValueError: a parameter's value at start cannot be used.
    """

    def __init__(self, load: Callable[[Parameters], answerers.Loaded] = answerers.load, **options: Any) -> None:
        Node.__init__(self, "amodal_node", **options)
        # Transitions load models, and a report waits for the answerer's figures. With groups of their own the other
        # callbacks go on meanwhile; `rclpy.lifecycle.LifecycleNode` would not let us choose one.
        self._transitions, self._reports = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self.slow = (self._transitions, self._reports)  #: for `NodeExecutor`
        LifecycleNodeMixin.__init__(self, callback_group=self._transitions)
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self._input_group = MutuallyExclusiveCallbackGroup()
        self._chosen = declare(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.add_post_set_parameters_callback(self._after_parameters)
        self._load = load
        self._log = Throttled(self.get_logger())
        self.intake = Intake(TOPICS, self._on_drop)  #: what came in and what became of it
        self._timings = Timings()
        self._ending = threading.Event()
        self._failures, self._last_failure = 0, ""  #: callbacks that raised
        self._told: Counter[str] = Counter()  #: what the last report said of crashes and failed completions
        self._loaded: answerers.Loaded | None = None
        self._worker: Worker | None = None
        self._inputs: dict[str, Input] = {}
        self._instances: LifecyclePublisher[AmodalInstanceArray] | None = None
        self._overlay: LifecyclePublisher[Image] | None = None
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # timers go on when simulated time stands still
        self._complaints: set[str] = set()  # of the last report: each is logged when it begins
        self._reported = (time.monotonic(), self.intake.counts())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(DIAGNOSTICS_PERIOD, self._report, callback_group=self._reports, clock=self._steady)
        self.create_timer(REVIEW_PERIOD, self._review, callback_group=self._input_group, clock=self._steady)
        if self._chosen.autostart:
            self._starter = self.create_timer(0.0, self._start, callback_group=self._transitions, clock=self._steady)

    # --- lifecycle ------------------------------------------------------------------------------------------
    # rclpy swallows what a transition callback raises, so each one catches, logs and fails by itself.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check parameters and files; make the publishers."""

        def configure() -> TransitionCallbackReturn:
            answerers.check(self._chosen)
            self._instances = self.create_lifecycle_publisher(AmodalInstanceArray, "~/instances", _qos("reliable", 5))
            self._overlay = self.create_lifecycle_publisher(Image, "~/overlay", _qos("reliable", 1))
            return LifecycleNodeMixin.on_configure(self, state)

        return self._attempt("configure", configure, self._unpublish)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and listen."""

        def activate() -> TransitionCallbackReturn:
            self._join(HANDOVER)
            self._loaded = loaded = self._load(self._chosen)
            if self._ending.is_set() or not self.context.ok():
                raise RuntimeError("the process was told to end while the model loaded")
            loaded.answerer.start()
            if LifecycleNodeMixin.on_activate(self, state) != SUCCESS:
                raise RuntimeError("a publisher cannot be activated")
            self._listen(loaded)
            self.get_logger().info(f"active: model {loaded.answerer.name}, device {loaded.device}")
            return SUCCESS

        def undo() -> None:
            if self._worker is None and self._loaded is not None:
                self._loaded.answerer.stop()
                self._loaded.free()
            self._fall_silent()
            LifecycleNodeMixin.on_deactivate(self, state)

        return self._attempt("activate", activate, undo)

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

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition failed half-way: back to unconfigured, with nothing left of it."""
        self.get_logger().error("a transition failed; the node is unconfigured")
        return self.on_shutdown(state)

    def end(self) -> None:
        """Have what runs come to its end: the process will."""
        self._ending.set()
        if self._worker is not None:
            self._worker.interrupt()

    def close(self, seconds: float = HANDOVER) -> bool:
        """End the worker before the process does, without any transition; False where it has not ended in time."""
        self.end()
        self._fall_silent()
        try:
            self._join(seconds)
        except RuntimeError:
            return False
        return True

    def _attempt(
        self, what: str, change: Callable[[], TransitionCallbackReturn], undo: Callable[[], object]
    ) -> TransitionCallbackReturn:
        """A transition that takes back all that it did where it fails."""
        try:
            return change()
        except Exception as error:
            if not self._ending.is_set():
                self.get_logger().error(f"cannot {what}: {error}")
        undo()
        return FAILURE

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        """With `autostart` what a lifecycle manager asks for has been done already: that is success, no error."""
        done = {Transition.TRANSITION_CONFIGURE: ("inactive", "active"), Transition.TRANSITION_ACTIVATE: ("active",)}
        names = {"configure": Transition.TRANSITION_CONFIGURE, "activate": Transition.TRANSITION_ACTIVATE}
        wanted = names.get(request.transition.label, request.transition.id)
        state = self._state_machine.current_state[1]
        if self._chosen.autostart and state in done.get(wanted, ()):
            self.get_logger().info(f"{request.transition.label or wanted}: done by autostart, the node is {state}")
            response.success = True
            return response
        try:
            return self._change_state(request, response)
        except Exception as error:  # Jazzy's rclpy raises at a wrong transition: nobody would answer
            self.get_logger().warn(f"{request.transition.label or wanted}: not possible, the node is {state}: {error}")
            response.success = False
            return response

    def _start(self) -> None:
        self._starter.cancel()
        steps = {"unconfigured": self.trigger_configure, "inactive": self.trigger_activate}
        while (step := steps.pop(self._state_machine.current_state[1], None)) is not None and step() == SUCCESS:
            pass
        if self._state_machine.current_state[1] != "active" and not self._ending.is_set() and self.context.ok():
            name = self.get_fully_qualified_name()
            step = "configure" if self._state_machine.current_state[1] == "unconfigured" else "activate"
            by_hand = f"ros2 lifecycle set {name} {step}" if which("ros2") else f"amodal lifecycle {step} --node {name}"
            self.get_logger().warn(f"not active; mend the cause, then: {by_hand}")

    def _listen(self, loaded: answerers.Loaded) -> None:
        parameters = self._chosen
        topics = TOPICS if parameters.use_depth else TOPICS[:2]
        self._loaded, self._timings = loaded, Timings()
        self.intake.open(
            topics,
            slop=round(parameters.pair_slop * 1e9),
            seconds=parameters.pair_buffer,
            size=parameters.pair_buffer_mb * 1_000_000,
        )
        self._worker = Worker(
            self.intake, loaded, self._publish, self._show, self._chosen, self._timings, self._log.warn
        )
        self._worker.start()
        for topic in topics:
            self._inputs[topic] = self._input(topic)

    def _fall_silent(self) -> None:
        for topic in list(self._inputs):
            self._inputs.pop(topic).close()
        self.intake.close()
        if self._worker is not None:
            self._worker.interrupt()
            self._worker.join(PATIENCE)
        self._loaded = None  # the worker frees it, and nobody else may keep the model's memory

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

    def _input(self, topic: str) -> Input:
        def take(message: Image | CompressedImage) -> None:
            self.intake.offer(topic, nanoseconds(message.header.stamp), message, len(message.data))

        compressed = topic == "image" and self._chosen.image_transport == "compressed"
        where = places(self.resolve_topic_name(topic), compressed)
        return Input(self, where, take, partial(self.intake.lose, topic), self._input_group, self._log.warn)

    def _review(self) -> None:
        for source in list(self._inputs.values()):
            source.review()

    def _publish(self, image: Image, scene: Scene, answers: list[Answer]) -> None:
        loaded, publisher = self._loaded, self._instances
        if loaded is not None and publisher is not None:  # else the node has become inactive meanwhile
            publisher.publish(instances_message(image.header, scene.shape, loaded.answerer.name, answers))

    def _show(self, image: Image, scene: Scene, answers: list[Answer]) -> None:
        overlay = self._overlay
        if overlay is not None and overlay.get_subscription_count():
            with self._timings.measure("overlay"):
                overlay.publish(image_message(image.header, draw_overlay(scene.image, answers)))

    # --- parameters -----------------------------------------------------------------------------------------

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            self._changed(changes, self._state_machine.current_state[1] in ("configuring", "activating", "active"))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _after_parameters(self, changes: list[Parameter]) -> None:
        self._chosen = self._changed(changes, active=False)
        if self._worker is not None:
            self._worker.parameters = self._chosen

    def _changed(self, changes: list[Parameter], active: bool) -> Parameters:
        return changed(self._chosen, {p.name: p.value for p in changes if p.name in OPTIONS}, active)

    # --- telling --------------------------------------------------------------------------------------------

    def note_failure(self, error: Exception) -> None:
        """A callback raised; for `NodeExecutor`."""
        self._failures, self._last_failure = self._failures + 1, f"{type(error).__name__}: {error}"
        if not self._ending.is_set():
            text = "".join(traceback.format_exception(error)).strip()
            self._log.warn(f"failure.{type(error).__name__}", f"a callback failed, the node goes on: {text}")

    def _on_drop(self, topic: str, reason: str, text: str) -> None:
        if text:
            self._log.warn(f"{topic}.{reason}", text)

    def _report(self) -> None:
        """Diagnostics, in every lifecycle state."""
        self.intake.expire()
        now, counts = time.monotonic(), self.intake.counts()
        before, self._reported = self._reported, (now, counts)
        snapshot = self._snapshot(counts, *before)
        complaints = input_complaints(snapshot)
        for subject in complaints.keys() - self._complaints:
            self._log.warn(subject, complaints[subject])
        self._complaints = set(complaints)
        message = DiagnosticArray(status=statuses(self.get_fully_qualified_name(), snapshot, complaints))
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _snapshot(self, counts: dict, since: float, before: dict) -> Snapshot:
        worker, loaded = self._worker, self._loaded
        stamp = worker.answered_stamp if worker else None
        now = time.monotonic()
        figures = loaded.answerer.diagnostics() if loaded else {}
        crashes = {
            "callbacks": (self._failures, self._last_failure),
            "worker": (worker.crashes, worker.last_crash) if worker else (0, ""),
            "live": (int(figures.get("worker.crashes", 0)), str(figures.get("last_error", ""))),
        }
        counts_now = Counter({name: count for name, (count, _) in crashes.items()})
        counts_now["completions"] = int(figures.get("completions.failed", 0))
        fresh, self._told = counts_now - self._told, counts_now
        return Snapshot(
            state=self._state_machine.current_state[1],
            counts=counts,
            before=before,
            seconds=max(now - since, 1e-3),
            silence=self.intake.silence(),
            newest=self.intake.newest(),
            unpaired=now - self.intake.last_pair,
            topics={topic: self.resolve_topic_name(topic) for topic in TOPICS},
            inputs=dict(self._inputs),
            time_jumps=worker.time_jumps if worker else 0,
            objects=worker.objects if worker else {},
            staleness=(self.get_clock().now().nanoseconds - stamp) / 1e9 if stamp is not None else None,
            timings=self._timings.percentiles(),
            model=loaded.answerer.name if loaded else self._chosen.model,
            device=loaded.device if loaded else "none",
            memory=loaded.memory() if loaded else 0,
            answerer=figures,
            busy=worker.busy() if worker else 0.0,
            allowed=0.0 if self._chosen.live else self._chosen.frame_budget,
            crashes=sum(fresh[name] for name in crashes),
            failures=fresh["completions"],
            last_crash=next((text for name, (_, text) in crashes.items() if fresh[name]), ""),
        )


def _qos(reliability: str, depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy[reliability.upper()])
