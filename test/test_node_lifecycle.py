"""Lifecycle and parameters of the node, over its services."""

from __future__ import annotations

import gc
import json
import re
import threading
import time

import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import ReliabilityPolicy  # noqa: E402
from ros_graph import Scripted, connected, graph, stamp_message  # noqa: E402

from amodal_ros.node.node import AmodalNode  # noqa: E402
from amodal_ros.stream.answerers import Loaded  # noqa: E402
from amodal_ros.stream.parameters import OPTIONS  # noqa: E402

SECOND = 1_000_000_000
PROMPT = 0.5  # seconds within which services answer whatever the model does


@pytest.fixture
def ros():
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.shutdown()


def test_autostart_off_waits_for_transitions_and_a_cycle_starts_afresh():
    answerer = Scripted()
    with graph(answerer, active=False, autostart=False) as (_, peer):
        assert peer.state() == "unconfigured"
        peer.wait_status("model", lambda s: s.get("state") == "unconfigured")  # diagnostics work in every state
        assert peer.change(Transition.TRANSITION_CONFIGURE) and peer.state() == "inactive"
        assert answerer.calls == []  # nothing is loaded before activation
        for cycle in (1, 2):
            assert peer.change(Transition.TRANSITION_ACTIVATE) and peer.state() == "active"
            connected(peer)
            peer.ask(cycle * SECOND)
            assert peer.change(Transition.TRANSITION_DEACTIVATE) and peer.state() == "inactive"
            peer.wait(lambda: not peer.image.get_subscription_count(), "the node stops listening")
        assert answerer.calls == ["start", "stop", "start", "stop"]
        assert peer.change(Transition.TRANSITION_CLEANUP) and peer.state() == "unconfigured"
        assert peer.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) and peer.state() == "finalized"


def test_a_missing_model_folder_fails_configure_and_can_be_mended(tmp_path):
    missing = tmp_path / "no_such_model"
    with graph(active=False, autostart=False, model=str(missing)) as (_, peer):
        assert not peer.change(Transition.TRANSITION_CONFIGURE)
        assert peer.state() == "unconfigured"
        assert peer.set("model", "geometric").successful
        assert peer.change(Transition.TRANSITION_CONFIGURE)
        assert peer.change(Transition.TRANSITION_ACTIVATE)
        connected(peer)
        assert peer.ask(SECOND).model == "geometric"


@pytest.mark.parametrize("present", [[], ["model_index.json"]])
def test_an_incomplete_model_folder_is_named(tmp_path, present, capfd):
    for name in present:
        (tmp_path / name).write_text(json.dumps({"_class_name": "StableDiffusionInpaintPipeline"}))
    with graph(active=False, autostart=False, model=str(tmp_path)) as (_, peer):
        assert not peer.change(Transition.TRANSITION_CONFIGURE)
    missing = tmp_path / ("segmenter/config.json" if present else "model_index.json")
    assert f"{missing} not found" in capfd.readouterr().err


def test_a_model_that_does_not_load_fails_activate_and_gives_memory_back():
    freed = []
    broken = Scripted()
    broken.start = lambda: (_ for _ in ()).throw(RuntimeError("out of memory"))
    loads = [Loaded(broken, free=lambda: freed.append(True)), Loaded(Scripted())]
    with graph(load=lambda parameters: loads.pop(0), active=False, autostart=False) as (_, peer):
        assert peer.change(Transition.TRANSITION_CONFIGURE)
        assert not peer.change(Transition.TRANSITION_ACTIVATE)
        assert peer.state() == "inactive" and freed == [True]
        assert peer.change(Transition.TRANSITION_ACTIVATE)
        connected(peer)
        peer.ask(SECOND)


def test_no_collection_looks_at_a_model_that_answers_and_one_that_is_freed_is_collected():
    kept = []
    loaded = Loaded(Scripted(), free=lambda: kept.append(gc.get_freeze_count()))
    with graph(load=lambda parameters: loaded) as (_, peer):
        peer.ask(SECOND)
        assert gc.isenabled() and gc.get_freeze_count() > 10_000
        assert peer.change(Transition.TRANSITION_DEACTIVATE)
        peer.wait(lambda: kept)
    assert kept == [0]


def test_an_activation_that_fails_half_way_leaves_nothing_behind(capfd):
    answerer = Scripted()
    override = {"qos_overrides./instance_mask.subscription.reliability": "perfect"}
    with graph(answerer, active=False, autostart=False, **override) as (node, peer):
        assert peer.change(Transition.TRANSITION_CONFIGURE)
        for _ in range(2):
            assert not peer.change(Transition.TRANSITION_ACTIVATE, deadline=5.0)
            assert peer.state() == "inactive"
            assert not node.get_subscriptions_info_by_topic("/image")
        assert answerer.calls == ["start", "stop"] * 2
        assert peer.set("occluders", "any").successful  # as in every inactive node
        assert peer.change(Transition.TRANSITION_CLEANUP) and peer.state() == "unconfigured"
    assert "perfect" in capfd.readouterr().err


def test_a_lifecycle_manager_finds_an_autostarted_node_configured_and_active():
    with graph() as (_, peer):
        assert peer.change(Transition.TRANSITION_CONFIGURE) and peer.state() == "active"
        assert peer.change(Transition.TRANSITION_ACTIVATE) and peer.state() == "active"
        peer.ask(SECOND)
        assert not peer.change(Transition.TRANSITION_CLEANUP)  # an active node cannot be cleaned up, as ever
    with graph(active=False, autostart=False) as (_, peer):
        assert peer.change(Transition.TRANSITION_CONFIGURE)
        assert not peer.change(Transition.TRANSITION_CONFIGURE)  # nobody but the manager has done it


def test_services_answer_while_a_completion_runs_and_deactivate_interrupts_it():
    answerer, running = Scripted(), threading.Event()

    def complete(frame, should_stop):
        running.set()
        while not should_stop():  # a model between two denoising steps
            time.sleep(0.01)

    answerer.script = complete
    with graph(answerer) as (_node, peer):
        peer.send(SECOND)
        assert running.wait(10)
        assert peer.set("frame_budget", 0.5, deadline=PROMPT).successful
        assert peer.get("frame_budget") == 0.5
        assert peer.change(Transition.TRANSITION_DEACTIVATE, deadline=PROMPT)
        status = peer.wait_status("answers", lambda s: s.get("dropped.inactive") == "1")
        assert (status["received"], status["answered"], status["waiting"]) == ("1", "0", "0")
        assert not peer.arrays
        answerer.script = lambda frame, should_stop: None
        assert peer.change(Transition.TRANSITION_ACTIVATE)
        connected(peer)
        peer.ask(2 * SECOND)


def test_a_worker_that_does_not_answer_is_told_within_two_seconds():
    answerer, running, release = Scripted(), threading.Event(), threading.Event()

    def stuck(frame, should_stop):
        running.set()
        release.wait(20)

    answerer.script = stuck
    with graph(answerer) as (_, peer):
        peer.send(SECOND)
        assert running.wait(10)
        began = time.monotonic()
        status = peer.wait_status("answers", lambda s: "no answer for" in s["message"])
        assert status["level"] == DiagnosticStatus.WARN and time.monotonic() - began < 3.0  # 2 s, and the machine
        release.set()
        peer.answer_to(SECOND)
        peer.wait_status("answers", lambda s: s["level"] == DiagnosticStatus.OK)


def test_a_worker_that_ends_unexpectedly_is_an_error_and_answers_again():
    answerer, ends = Scripted(), [SystemExit("gone")]

    def end(frame, should_stop):
        if ends:
            raise ends.pop()

    answerer.script = end
    with graph(answerer) as (_, peer):
        peer.send(SECOND)
        status = peer.wait_status("answers", lambda s: "SystemExit: gone" in s["message"])
        assert status["level"] == DiagnosticStatus.ERROR
        peer.ask(2 * SECOND)
        status = peer.wait_status("answers", lambda s: s["answered"] == "1")
        assert status["received"] == "2" and status["dropped.failed"] == "1"


def test_deactivate_does_not_wait_for_a_step_that_will_not_end():
    answerer, running, release = Scripted(), threading.Event(), threading.Event()

    def stuck(frame, should_stop):
        running.set()
        release.wait(20)

    answerer.script = stuck
    with graph(answerer) as (_, peer):
        peer.send(SECOND)
        assert running.wait(10)
        assert peer.change(Transition.TRANSITION_DEACTIVATE, deadline=PROMPT)
        assert "stop" not in answerer.calls
        release.set()
        peer.wait(lambda: "stop" in answerer.calls, "the model's memory is given back when the step has ended")
        assert not peer.arrays  # what was being answered is not published any more


def test_parameter_services_answer_while_the_model_loads():
    loading, loaded = threading.Event(), threading.Event()

    def load():
        loading.set()
        assert loaded.wait(20)
        return Loaded(Scripted())

    with graph(load=lambda parameters: load(), active=False) as (_, peer):
        assert loading.wait(10)
        assert peer.set("frame_budget", 0.25, deadline=PROMPT).successful
        loaded.set()
        connected(peer)
        peer.ask(SECOND)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("occluders", "nobody", "instances, depth, any, off"),
        ("frame_budget", -1.0, "frame_budget"),
        ("frame_budget", "soon", "type"),
        ("max_objects", 0, "max_objects"),
        ("class_names", ["", "car"], "label_divisor"),
    ],
)
def test_bad_values_are_refused_with_a_reason(name, value, reason):
    with graph() as (_, peer):
        before = peer.get(name)
        result = peer.set(name, value)
        assert not result.successful and reason in result.reason
        assert peer.get(name) == before


def test_what_the_model_is_built_from_cannot_change_while_active():
    with graph() as (_, peer):
        result = peer.set("model", "embedded")
        assert not result.successful and "deactivate" in result.reason
        assert peer.change(Transition.TRANSITION_DEACTIVATE)
        assert peer.set("occluders", "any").successful


@pytest.mark.parametrize(
    ("name", "value"), [("occluders", "nobody"), ("frame_budget", -1.0), ("frame_budget", 1), ("max_objects", 0)]
)
def test_bad_values_at_start_name_the_parameter(ros, name, value):
    with pytest.raises(ValueError, match=name):
        AmodalNode(context=ros, parameter_overrides=[Parameter(name, value=value)])


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("pair_slop", 0, "pair_slop: expected a number with a decimal point, got 0; write 0.0"),
        ("device", 0, "device: expected text, got 0; write '0', with quotes"),
        ("max_objects", 2.5, "max_objects: expected a whole number, got 2.5"),
        ("live", "yes", "live: expected true or false, got 'yes'"),
        ("class_names", [1, 2], "class_names: expected a list of text"),
    ],
)
def test_values_of_another_type_say_what_to_write(ros, name, value, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        AmodalNode(context=ros, parameter_overrides=[Parameter(name, value=value)])


@pytest.mark.parametrize("name", OPTIONS)
def test_an_empty_list_at_start_is_no_traceback(ros, name):
    given = [Parameter(name, Parameter.Type.NOT_SET)]  # as `-p name:=[]` arrives
    options = {"context": ros, "parameter_overrides": given}
    if isinstance(OPTIONS[name].default, tuple):
        node = AmodalNode(**options)
        assert node.get_parameter(name).value == [*OPTIONS[name].default]
        node.destroy_node()
    else:
        with pytest.raises(ValueError, match=f"{name}: expected .*, got an empty list"):
            AmodalNode(**options)


def test_yaml_reads_a_bare_off_as_false(ros):
    node = AmodalNode(context=ros, parameter_overrides=[Parameter("occluders", value=False)])
    assert node.get_parameter("occluders").value == "off"
    node.destroy_node()


def test_present_values_may_be_set_again_while_active_and_nothing_changes_while_the_model_loads():
    loading, go_on = threading.Event(), threading.Event()

    def load():
        loading.set()
        assert go_on.wait(10)
        return Loaded(Scripted())

    with graph(load=lambda parameters: load(), active=False) as (_, peer):
        assert loading.wait(10)
        answer = peer.set("use_depth", True)
        assert not answer.successful and "while the node is active" in answer.reason
        go_on.set()
        connected(peer)
        for name in OPTIONS:
            assert peer.set(name, peer.get(name)).successful, name


def test_qos_of_endpoints_and_overrides():
    override = {"qos_overrides./image.subscription.reliability": "best_effort"}
    with graph(**override) as (node, _peer):
        (image,) = node.get_subscriptions_info_by_topic("/image")
        (mask,) = node.get_subscriptions_info_by_topic("/instance_mask")
        (instances,) = node.get_publishers_info_by_topic("/amodal_node/instances")
    assert image.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT  # as overridden
    assert mask.qos_profile.reliability == ReliabilityPolicy.RELIABLE  # as offered
    assert instances.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_an_incompatible_publisher_is_reported(capfd):
    override = {"qos_overrides./image.subscription.reliability": "reliable"}
    with graph(peer={"reliable": False}, active=False, **override) as (_, peer):
        status = peer.wait_status("inputs", lambda s: s.get("image.qos_incompatible") == "1")
    assert status["instance_mask.qos_incompatible"] == "0"
    assert "RELIABILITY" in capfd.readouterr().err


def test_simulated_time_ages_the_answers():
    from rosgraph_msgs.msg import Clock

    with graph(use_sim_time=True) as (_, peer):
        clock = peer.create_publisher(Clock, "/clock", 5)
        peer.wait(clock.get_subscription_count, "the node follows /clock")
        peer.ask(100 * SECOND)
        clock.publish(Clock(clock=stamp_message(107 * SECOND)))
        status = peer.wait_status("answers", lambda s: s.get("staleness_s") == "7.000")
    assert status["answered"] == "1"
