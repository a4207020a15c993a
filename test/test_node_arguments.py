"""What the command line gives the node: names that nothing reads are named, and states change without `ros2`."""

from __future__ import annotations

import pytest

rclpy = pytest.importorskip("rclpy")

from ros_graph import graph  # noqa: E402

from amodal_ros import cli  # noqa: E402
from amodal_ros.node import arguments  # noqa: E402
from amodal_ros.node.process import run  # noqa: E402
from amodal_ros.node.program import AMODAL_NODE  # noqa: E402
from amodal_ros.node.signals import Watch  # noqa: E402

DECLARED = ("max_objects", "model", "use_sim_time")
NODE = "/front/amodal_node"


class NeverTold(Watch):
    """Leaves this process's signals alone."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--ros-args", "-p", "modle:=geometric"], "-p modle: no such parameter; model is one"),
        (["--ros-args", "-p", "amodal_node:modle:=geometric"], "-p modle: no such parameter; model is one"),
        (["--ros-args", "-p", "model:geometric"], "-p model:geometric: expected NAME:=VALUE"),
        (["-p", "model:=geometric"], "expected --ros-args before '-p'"),
        (["--ros-args", "-r", "__ns:=9x"], "__ns:=9x"),
        (["--ros-args", "--params-file", "nowhere.yaml"], "parameter file nowhere.yaml: No such file"),
        (["--ros-args", "-p", "occluders:=nobody"], "instances, depth, any, off, or empty, got 'nobody'"),
    ],
)
def test_the_node_does_not_start_on_what_it_cannot_use(argv, message, capfd):
    assert run(AMODAL_NODE, argv, NeverTold()) == 2
    lines = capfd.readouterr().err.splitlines()
    assert message in lines[-1] and lines[-1].startswith("amodal_node: ")


def checked(text: str, tmp_path, node: str = NODE) -> list[str]:
    (tmp_path / "mine.yaml").write_text(text)
    argv = ["--ros-args", "--params-file", str(tmp_path / "mine.yaml"), "-p", "model:=geometric", "-r", "image:=/i"]
    return arguments.check(arguments.check_command(argv), node, DECLARED)


@pytest.mark.parametrize("section", ["/front/amodal_node", "front/amodal_node"])
def test_a_misspelt_name_in_the_nodes_own_section_is_refused(section, tmp_path):
    with pytest.raises(ValueError, match=f"{section}: max_object: no such parameter; max_objects is one"):
        checked(f"{section}: {{ros__parameters: {{max_object: 3}}}}", tmp_path)
    with pytest.raises(ValueError, match="max_object: no such"):
        checked("front: {amodal_node: {ros__parameters: {max_object: 3}}}", tmp_path)


@pytest.mark.parametrize("section", ["/**", "/front/*", "/**/amodal_node"])
def test_in_a_section_for_many_nodes_it_is_named(section, tmp_path):
    (doubt,) = checked(f"{section}: {{ros__parameters: {{max_object: 3, model: geometric}}}}", tmp_path)
    assert f"{section}: max_object: no such parameter; max_objects is one" in doubt


def test_a_file_for_other_nodes_is_named(tmp_path):
    (doubt,) = checked("amodal_node: {ros__parameters: {max_objects: 3}}", tmp_path)
    assert f"has nothing for {NODE}: its sections are for /amodal_node" in doubt


def test_what_is_right_passes(tmp_path):
    nested = "qos_overrides: {/i: {subscription: {reliability: reliable}}}"
    assert not checked(f"/**: {{ros__parameters: {{max_objects: 3, use_sim_time: true, {nested}}}}}", tmp_path)


@pytest.mark.parametrize("text", ["", "model: geometric", "/**: {model: geometric}", "- 1", "a: ["])
def test_a_file_without_parameters_is_named(text, tmp_path):
    with pytest.raises(ValueError, match=r"parameter file .*mine\.yaml: expected"):
        checked(text, tmp_path)


def test_help_starts_no_node(capsys):
    with pytest.raises(SystemExit) as ended:
        run(AMODAL_NODE, ["--help"], NeverTold())
    assert ended.value.code == 0 and "--ros-args -r image:=" in capsys.readouterr().out


def test_states_change_without_ros2(monkeypatch, capsys):
    with graph(autostart=False, active=False) as (node, _):
        name = ["--node", node.get_fully_qualified_name()]
        for transition, code, said in [
            ([], 0, "unconfigured"),
            (["activate"], 1, "expected configure or shutdown, got activate"),
            (["configure"], 0, "inactive"),
            (["activate"], 0, "active"),
            (["deactivate"], 0, "inactive"),
            (["cleanup"], 0, "unconfigured"),
        ]:
            assert cli.main(["lifecycle", *transition, *name]) == code
            output = capsys.readouterr()
            assert said in output.out + output.err
