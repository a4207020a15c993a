"""A robot to break: nodes as processes of their own, and this process as camera, segmenter, planner and operator.

Every process has the environment of somebody who has set nothing: no middleware profile, no QoS override. Only the DDS
domain is chosen, so that a robot does not hear its neighbours.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from amodal_ros.messages import nanoseconds
from amodal_ros.msg import AmodalInstanceArray
from fault_table import frames

DEADLINE = 40.0  # seconds for anything to happen on a busy machine
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND  #: stamp of a row's first frame
WARM_UP = START - 20 * SECOND  #: stamps of the frames that are sent until one is answered
CAMERA = Path(__file__).with_name("camera.py")
_domains = itertools.cycle(range(200, 231))


def own_domain() -> tuple[int, IO[str]]:
    """A DDS domain of which no other run on this machine is a part, and the lock that says so until it is closed.

    In one domain the runs would be each other's cameras.
    """
    for domain in _domains:
        lock = (Path(tempfile.gettempdir()) / f"amodal_ros_domain_{domain}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return domain, lock
        except BlockingIOError:
            lock.close()
    raise AssertionError("a cycle has no end")


def default_environment(domain: int) -> dict[str, str]:
    """Ours, less what a user would not have set."""
    ours = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("FASTDDS_", "FASTRTPS_", "RMW_", "OMP_", "ROS_AUTOMATIC_", "ROS_LOCALHOST_"))
    }
    return {**ours, "ROS_DOMAIN_ID": str(domain)}


class Process:
    """A process whose output is kept in a file."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], **options: Any) -> None:
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)  # noqa: SIM115
        self.popen = subprocess.Popen(
            list(command), env=dict(env), stdout=self._log, stderr=subprocess.STDOUT, **options
        )

    @property
    def log(self) -> str:
        """What it has said so far."""
        return Path(self._log.name).read_text(errors="replace")

    def lines(self, *texts: str) -> list[str]:
        """Its lines that hold each of these texts."""
        return [line for line in self.log.splitlines() if all(text in line for text in texts)]

    def says(self, *texts: str, deadline: float = DEADLINE) -> str:
        """The first line that holds each text, once it comes; "" if it does not in time or the process ends."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            ended = self.popen.poll() is not None
            if found := self.lines(*texts):
                return found[0]
            if ended:
                break
            time.sleep(0.05)
        return ""

    def wait(self, deadline: float = DEADLINE) -> int | None:
        """Its exit code; None if it has not ended in time."""
        try:
            return self.popen.wait(deadline)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    def end(self) -> int | None:
        """Interrupt it as Ctrl-C does; kill it if that does not help. The exit code, None if it was killed."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGINT)
        code = self.wait(20)
        if code is None:
            self.popen.kill()
            self.popen.wait()
        self._log.close()
        Path(self._log.name).unlink(missing_ok=True)
        return code

    def memory(self) -> float:
        """Megabytes in memory that are its own: not shared with other processes, not mapped from files."""
        text = Path(f"/proc/{self.popen.pid}/smaps_rollup").read_text()
        return sum(int(kb) for kb in re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", text, re.MULTILINE)) / 1e3

    def threads(self) -> int:
        """How many threads it has."""
        return len(list(Path(f"/proc/{self.popen.pid}/task").iterdir()))


class Robot:
    """One DDS domain with this process in it. Ends all that it has started.

    Attributes:
        answers: every AmodalInstanceArray with its time of arrival (monotonic seconds).
        reports: every DiagnosticArray.
    """

    def __init__(self, name: str = "/amodal_node", reliable: bool = True) -> None:
        self.domain, self._lock = own_domain()
        self.env = default_environment(self.domain)
        self.name = name
        self.answers: list[tuple[float, AmodalInstanceArray]] = []
        self.reports: list[DiagnosticArray] = []
        self.processes: list[Process] = []
        self.news = threading.Condition()
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=self.domain, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("peer", context=self._context)
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self.qos = QoSProfile(depth=20, reliability=policy)
        self.publishers: dict[str, Any] = {}
        self.image_topic, self.mask_topic = "/image", "/instance_mask"
        self.make_image: Callable[[int], Any] = frames.image
        self.make_labels: Callable[[int], Any] = frames.labels
        self.node.create_subscription(AmodalInstanceArray, f"{name}/instances", self._hear_answer, 200)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._hear_report, 200)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def __enter__(self) -> Robot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self.processes):
            process.end()
        self._executor.shutdown()
        self._thread.join(DEADLINE)
        self.node.destroy_node()
        self._context.try_shutdown()
        self._lock.close()

    # --- what is under test ---------------------------------------------------------------------------------

    def start(
        self,
        *ros_args: str,
        model: str = "geometric",
        prefix: Sequence[str] = (),
        env: Mapping[str, str] = {},
        **more: Any,
    ) -> Process:
        """Start the node. `ros_args` are parameters (``name:=value``) or complete options (``-r ...``)."""
        command = [*prefix, sys.executable, "-m", "amodal_ros.node.main", "--ros-args"]
        for argument in (f"model:={model}", *ros_args):
            command += argument.split(" ", 1) if argument.startswith("-") else ["-p", argument]
        self.processes.append(Process(command, {**self.env, **env}, **more))
        return self.processes[-1]

    def run(self, *command: str, env: Mapping[str, str] = {}) -> Process:
        """Start any process in this domain."""
        self.processes.append(Process(command, {**self.env, **env}))
        return self.processes[-1]

    def camera(self, *options: str, env: Mapping[str, str] = {}) -> Process:
        """Start somebody else's camera and segmenter (`camera.py`)."""
        return self.run(sys.executable, str(CAMERA), *options, env=env)

    # --- camera and segmenter -------------------------------------------------------------------------------

    def publish(self, topic: str, message: Any) -> None:
        """Publish from this process; the publisher is made once."""
        if topic not in self.publishers:
            self.publishers[topic] = self.node.create_publisher(type(message), topic, self.qos)
        self.publishers[topic].publish(message)

    def withdraw(self) -> None:
        """Take this process's publishers away: somebody else sends from now on."""
        for publisher in self.publishers.values():
            self.node.destroy_publisher(publisher)
        self.publishers.clear()

    def send(self, stamp: int, image: Any = None, labels: Any = None) -> None:
        """Publish one image and its label map; by default a small scene of two objects."""
        self.publish(self.image_topic, self.make_image(stamp) if image is None else image)
        self.publish(self.mask_topic, self.make_labels(stamp) if labels is None else labels)

    def warm_up(self, node: Process, seconds: float = DEADLINE) -> None:
        """Send small frames until one is answered: from then on everybody knows everybody.

        Raises:
            RuntimeError: none was answered in time.
        """
        for k in range(round(seconds / 0.2)):
            self.send(WARM_UP + k * SECOND // 20)
            if self.wait(lambda: self.answers, 0.2):
                time.sleep(1)  # what is on its way comes, so that counts begin even
                self.wait_counted()
                self.answers.clear()
                return
            if node.popen.poll() is not None:
                break
        told = self.status("inputs").get("message", "nothing")
        raise RuntimeError(f"no frame is answered; diagnostics: {told!r}; the node's log ends with {node.log[-300:]!r}")

    def ask(self, stamps: Iterable[int], hz: float = 20.0, deadline: float = 20.0) -> int:
        """Send frames with these stamps at a steady pace; how many of them were answered."""
        stamps = list(stamps)
        for k in pace(len(stamps), hz):
            self.send(stamps[k])
        return self.answered(stamps, deadline)

    # --- planner and operator -------------------------------------------------------------------------------

    def wait(self, done: Callable[[], Any], deadline: float = DEADLINE) -> Any:
        """What `done` returns once it is true; its last value when that does not happen in time."""
        end = time.monotonic() + deadline
        with self.news:
            while not (result := done()) and (left := end - time.monotonic()) > 0:
                self.news.wait(min(left, 0.05))
            return result

    def stamps(self) -> list[int]:
        """Stamps of the answers, in the order of their arrival."""
        return [nanoseconds(array.header.stamp) for _, array in list(self.answers)]

    def answered(self, stamps: Iterable[int], deadline: float = DEADLINE) -> int:
        """How many of these stamps were answered; waits for all of them."""
        wanted = set(stamps)
        self.wait(lambda: wanted <= set(self.stamps()), deadline)
        return len(wanted & set(self.stamps()))

    def answer_to(self, stamp: int, deadline: float = DEADLINE) -> AmodalInstanceArray | None:
        """The answer to one stamp, or None."""
        self.answered([stamp], deadline)
        return next((array for _, array in self.answers if nanoseconds(array.header.stamp) == stamp), None)

    def status(self, part: str, name: str = "") -> dict[str, Any]:
        """The latest diagnostics of ``inputs``, ``answers`` or ``model``, with ``level`` (0 to 3) and ``message``."""
        for report in reversed(list(self.reports)):
            for status in report.status:
                if status.name.endswith(f"{name or self.name.rpartition('/')[2]}: {part}"):
                    values = {pair.key: pair.value for pair in status.values}
                    return {**values, "level": status.level[0], "message": status.message, "name": status.name}
        return {}

    def wait_status(self, part: str, done: Callable[[dict], Any], deadline: float = DEADLINE) -> dict[str, Any]:
        """Diagnostics that came after this call and satisfy `done`; the latest when none does in time."""
        seen = len(self.reports)
        self.wait(lambda: len(self.reports) > seen and done(self.status(part)), deadline)
        return self.status(part)

    def wait_counted(self) -> dict[str, int]:
        """The node's counts once nothing waits: received, answered, dropped and dropped.REASON."""
        self.wait_status("answers", lambda s: s.get("waiting") == "0", 15)
        return {k: int(v) for k, v in self.status("answers").items() if re.fullmatch(r"received|answered|dropped.*", k)}

    def call(self, kind: type, service: str, request: Any, deadline: float = DEADLINE) -> Any:
        """A service's response; None if there is none in time."""
        client = self.node.create_client(kind, f"{self.name}/{service}")
        try:
            if not client.wait_for_service(DEADLINE):
                return None
            time.sleep(0.2)  # a server that has not heard of its client yet would lose the response
            future = client.call_async(request)
            self.wait(future.done, deadline)
            return future.result() if future.done() else None
        finally:
            self.node.destroy_client(client)

    def state(self) -> str:
        """The lifecycle state; "" if the node does not say."""
        response = self.call(GetState, "get_state", GetState.Request())
        return response.current_state.label if response else ""

    def change(self, transition: str, deadline: float = DEADLINE) -> bool | None:
        """Request a transition by its name; None if there is no response in time."""
        number = getattr(Transition, f"TRANSITION_{transition.upper()}")
        response = self.call(
            ChangeState, "change_state", ChangeState.Request(transition=Transition(id=number)), deadline
        )
        return response.success if response else None

    def set(self, name: str, value: object) -> Any:
        """The result of setting a parameter, with `successful` and `reason`."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        response = self.call(SetParameters, "set_parameters", request)
        return response.results[0] if response else None

    def get(self, name: str) -> Any:
        """A parameter's value."""
        response = self.call(GetParameters, "get_parameters", GetParameters.Request(names=[name]))
        return parameter_value_to_python(response.values[0]) if response else None

    # --- ears -----------------------------------------------------------------------------------------------

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _hear_answer(self, array: AmodalInstanceArray) -> None:
        with self.news:
            self.answers.append((time.monotonic(), array))
            self.news.notify_all()

    def _hear_report(self, report: DiagnosticArray) -> None:
        with self.news:
            self.reports.append(report)
            self.news.notify_all()


def pace(count: int, hz: float, jitter: float = 0.0, seed: int = 0) -> Iterable[int]:
    """0 to count - 1, `hz` of them per second, each up to `jitter` periods late."""
    rng, began = np.random.default_rng(seed), time.monotonic()
    for k in range(count):
        due = began + (k + jitter * rng.random()) / hz
        time.sleep(max(0.0, due - time.monotonic()))
        yield k
