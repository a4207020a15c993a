"""What the package's nodes share: lifecycle, parameters, inputs, one worker, diagnostics. Callbacks only store."""

from __future__ import annotations

import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from shutil import which
from typing import Any, Generic

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNodeMixin, LifecyclePublisher, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy

from amodal_ros.messages import nanoseconds
from amodal_ros.node.declaring import declare
from amodal_ros.node.inputs import REVIEW_PERIOD, Fit, Input, no_hint
from amodal_ros.node.logs import Throttled
from amodal_ros.stream.intake import Count, Intake
from amodal_ros.stream.options import Chosen, changed, options_of
from amodal_ros.stream.serving import Server
from amodal_ros.stream.timings import Timings

#: Transitions wait this long for the worker to notice; after that it ends on its own (seconds).
PATIENCE = 0.2
#: Activation waits this long for a worker that still ends (seconds).
HANDOVER = 30.0
DIAGNOSTICS_PERIOD = 1.0

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class BaseNode(LifecycleNodeMixin, Node, Generic[Chosen]):
    """A lifecycle node that stores what it receives and answers it in one worker.

    A node fills in `configure`, `listen` and `report`; `load` and `unload` where it takes more than memory.

    Args:
        kind: its parameters, which have ``autostart``.
        topics: names of its inputs; the first is what is answered, the others are its partners.
        options: for `rclpy.node.Node`.

    Raises:
        ValueError: a parameter's value at start cannot be used.
    """

    def __init__(self, name: str, kind: type[Chosen], topics: tuple[str, ...], **options: Any) -> None:
        Node.__init__(self, name, **options)
        # Transitions load models, and a report waits for the answerer's figures. With groups of their own the other
        # callbacks go on meanwhile; `rclpy.lifecycle.LifecycleNode` would not let us choose one.
        self._transitions, self._reports = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self.slow = (self._transitions, self._reports)  #: for `NodeExecutor`
        LifecycleNodeMixin.__init__(self, callback_group=self._transitions)
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self._input_group = MutuallyExclusiveCallbackGroup()
        self._chosen: Chosen = declare(self, kind)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.add_post_set_parameters_callback(self._after_parameters)
        self._log = Throttled(self.get_logger())
        self._topics = topics
        self.intake = Intake(topics, self._on_drop)  #: what came in and what became of it
        self._timings = Timings()
        self._ending = threading.Event()
        self._failures, self._last_failure = 0, ""  #: callbacks that raised
        self._told: Counter[str] = Counter()  #: what the last report said of crashes and failures
        self._worker: Server | None = None
        self._inputs: dict[str, Input] = {}
        self._outputs: dict[str, LifecyclePublisher] = {}
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # timers go on when simulated time stands still
        self._complaints: set[str] = set()  # of the last report: each is logged when it begins
        self._reported = (time.monotonic(), self.intake.counts())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(DIAGNOSTICS_PERIOD, self._report, callback_group=self._reports, clock=self._steady)
        self.create_timer(REVIEW_PERIOD, self._review, callback_group=self._input_group, clock=self._steady)
        if self._chosen.autostart:  # type: ignore[attr-defined]
            self._starter = self.create_timer(0.0, self._start, callback_group=self._transitions, clock=self._steady)

    # --- what a node fills in -------------------------------------------------------------------------------

    def configure(self) -> None:
        """Check parameters and files, and `offer` the outputs. What it raises fails the transition."""
        raise NotImplementedError

    def load(self) -> None:
        """Take what answering needs, before anything is listened to. What it raises fails the transition."""

    def listen(self) -> str:
        """Open the intake, start the worker (`serve`), `hear` the inputs; returns what the log says of it."""
        raise NotImplementedError

    def unload(self) -> None:
        """Let go of what `load` took; the worker, where there is one, frees it."""

    def report(
        self, counts: dict[str, Count], since: float, before: dict[str, Count]
    ) -> tuple[list[DiagnosticStatus], Mapping[str, str]]:
        """The statuses of one report, and what is to be complained of by subject.

        Args:
            counts: of each topic; `before` is the same at the last report, `since` its time (monotonic seconds).
        """
        raise NotImplementedError

    # --- what it uses for that ------------------------------------------------------------------------------

    def offer(self, kind: type, topic: str, depth: int) -> None:
        """Publish a topic, reliably, while the node is active. See `publish`."""
        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)
        self._outputs[topic] = self.create_lifecycle_publisher(kind, topic, qos)

    def publish(self, topic: str, message: object) -> None:
        """Publish, unless the node has become inactive meanwhile."""
        output = self._outputs.get(topic)
        if output is not None and self._inputs:
            output.publish(message)

    def wanted(self, topic: str) -> bool:
        """Whether somebody subscribes to an output."""
        output = self._outputs.get(topic)
        return output is not None and output.get_subscription_count() > 0

    def hear(
        self,
        topic: str,
        where: tuple[Fit, ...],
        take: Callable[[Any], None] | None = None,
        size: Callable[[Any], int] | None = None,
        hint: Callable[[set[str]], str] = no_hint,
    ) -> None:
        """Listen to an input.

        Args:
            where: from `inputs.places`.
            take: what to do with a message; by default it is offered to the intake.
            size: a message's bytes; by default those of its field ``data``.
            hint: as in `Input`.
        """

        def store(message: Any) -> None:
            held = size(message) if size is not None else len(getattr(message, "data", ()))
            self.intake.offer(topic, nanoseconds(message.header.stamp), message, held)

        lose = partial(self.intake.lose, topic)
        self._inputs[topic] = Input(self, where, take or store, lose, self._input_group, self._log.warn, hint)

    def serve(self, worker: Server) -> None:
        """Start the one thread that answers."""
        self._worker = worker
        worker.start()

    @property
    def state(self) -> str:
        """The lifecycle state, such as ``"active"``."""
        return self._state_machine.current_state[1]

    # --- lifecycle ------------------------------------------------------------------------------------------
    # rclpy swallows what a transition callback raises, so each one catches, logs and fails by itself.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check parameters and files; make the publishers."""

        def configure() -> TransitionCallbackReturn:
            self.configure()
            return LifecycleNodeMixin.on_configure(self, state)

        return self._attempt("configure", configure, self._unpublish)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load what is needed and listen."""

        def activate() -> TransitionCallbackReturn:
            self._join(HANDOVER)
            self.load()
            if LifecycleNodeMixin.on_activate(self, state) != SUCCESS:
                raise RuntimeError("a publisher cannot be activated")
            self._timings = Timings()
            self.get_logger().info(f"active: {self.listen()}")
            return SUCCESS

        def undo() -> None:
            self.unload()
            self._fall_silent()
            LifecycleNodeMixin.on_deactivate(self, state)

        return self._attempt("activate", activate, undo)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening, interrupt what runs, give the memory back."""
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
        state = self.state
        if self._chosen.autostart and state in done.get(wanted, ()):  # type: ignore[attr-defined]
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
        while (step := steps.pop(self.state, None)) is not None and step() == SUCCESS:
            pass
        if self.state != "active" and not self._ending.is_set() and self.context.ok():
            name = self.get_fully_qualified_name()
            step = "configure" if self.state == "unconfigured" else "activate"
            by_hand = f"ros2 lifecycle set {name} {step}" if which("ros2") else f"amodal lifecycle {step} --node {name}"
            self.get_logger().warn(f"not active; mend the cause, then: {by_hand}")

    def _fall_silent(self) -> None:
        for topic in list(self._inputs):
            self._inputs.pop(topic).close()
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
        for topic in list(self._outputs):
            self.destroy_lifecycle_publisher(self._outputs.pop(topic))

    def _review(self) -> None:
        for source in list(self._inputs.values()):
            source.review()

    # --- parameters -----------------------------------------------------------------------------------------

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            self._changed(changes, self.state in ("configuring", "activating", "active"))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _after_parameters(self, changes: list[Parameter]) -> None:
        self._chosen = self._changed(changes, active=False)
        if self._worker is not None:
            self._worker.parameters = self._chosen

    def _changed(self, changes: list[Parameter], active: bool) -> Chosen:
        options = options_of(self._chosen)
        return changed(self._chosen, {p.name: p.value for p in changes if p.name in options}, active)

    # --- telling --------------------------------------------------------------------------------------------

    def note_failure(self, error: Exception) -> None:
        """A callback raised; for `NodeExecutor`."""
        self._failures, self._last_failure = self._failures + 1, f"{type(error).__name__}: {error}"
        if not self._ending.is_set():
            text = "".join(traceback.format_exception(error)).strip()
            self._log.warn(f"failure.{type(error).__name__}", f"a callback failed, the node goes on: {text}")

    def fresh_failures(self, others: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
        """(number since the last report, the latest's text) of callbacks, the worker's crashes, and `others`."""
        worker = self._worker
        failures = {
            "callbacks": (self._failures, self._last_failure),
            "worker": (worker.crashes, worker.last_crash) if worker else (0, ""),
            **others,
        }
        now = Counter({name: count for name, (count, _) in failures.items()})
        fresh, self._told = now - self._told, now
        return {name: (fresh[name], text) for name, (_, text) in failures.items()}

    def traffic(
        self,
        counts: dict[str, Count],
        since: float,
        before: dict[str, Count],
        failures: Mapping[str, tuple[int, str]] | None = None,
    ) -> dict[str, Any]:
        """What every node's report holds, by the names of `diagnostics.Traffic`, from `report`'s arguments.

        Args:
            failures: from `fresh_failures`, if `report` has asked for them: they are fresh only once.
        """
        worker, now = self._worker, time.monotonic()
        stamp = worker.answered_stamp if worker else None
        fresh = (self.fresh_failures({}) if failures is None else failures).values()
        return {
            "main": self._topics[0],
            "state": self.state,
            "counts": counts,
            "before": before,
            "seconds": max(now - since, 1e-3),
            "silence": self.intake.silence(),
            "newest": self.intake.newest(),
            "unpaired": now - self.intake.last_pair,
            "topics": {topic: self.resolve_topic_name(topic) for topic in self._topics},
            "inputs": dict(self._inputs),
            "time_jumps": worker.time_jumps if worker else 0,
            "objects": worker.objects if worker else {},
            "staleness": (self.get_clock().now().nanoseconds - stamp) / 1e9 if stamp is not None else None,
            "timings": self._timings.percentiles(),
            "busy": worker.busy() if worker else 0.0,
            "crashes": sum(count for count, _ in fresh),
            "last_crash": next((text for count, text in fresh if count), ""),
        }

    def _on_drop(self, topic: str, reason: str, text: str) -> None:
        if text:
            self._log.warn(f"{topic}.{reason}", text)

    def _report(self) -> None:
        """Diagnostics, in every lifecycle state."""
        self.intake.expire()
        now, counts = time.monotonic(), self.intake.counts()
        before, self._reported = self._reported, (now, counts)
        statuses, complaints = self.report(counts, *before)
        for subject in complaints.keys() - self._complaints:
            self._log.warn(subject, complaints[subject])
        self._complaints = set(complaints)
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
