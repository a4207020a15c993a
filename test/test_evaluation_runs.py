"""Evaluation runs from the command line: what is printed and written, killed runs, shards, bad data."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import save_sam, save_stable_diffusion
from dataset_fixtures import HEIGHT, WIDTH, annotation, case_folder, coco_a, region

from amodal_ros.cli import main
from amodal_ros.lab.datasets.coco_a import CocoA
from amodal_ros.lab.evaluation.metrics import BINS, overlap
from amodal_ros.lab.evaluation.runs import decode, encode
from amodal_ros.scene import MaskRegion

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"
STREETS = ["evaluate", "streets", "--model", "geometric", "--limit", "30"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six COCO-A images with three regions each."""
    regions = [
        region(20, 10, 15, 15, 1),
        region(5, 12, 20, 10, 2, hidden=(20, 10, 15, 15)),
        region(10, 5, 40, 30, 3, hidden=(5, 10, 30, 15), isStuff=1),
    ]
    annotations = [annotation(k, 10 + k, regions) for k in range(6)]
    return coco_a(tmp_path_factory.mktemp("coco"), annotations, images=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_stable_diffusion(tmp_path_factory.mktemp("model"))


def evaluate(root, *options, what="coco-a"):
    """The figures of a run, through the command line."""
    file = root.parent / f"figures-{time.monotonic_ns()}.json"
    where = ["--root", str(root)] if what == "coco-a" else [str(root)]
    assert main(["evaluate", what, *where, "--json", str(file), *map(str, options)]) == 0
    return json.loads(file.read_text())


def start(arguments, **keywords):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords
    )


def table(folder, capsys):
    capsys.readouterr()
    assert main(["tables", str(folder), "--format", "csv"]) == 0
    return capsys.readouterr().out


# --- figures ---------------------------------------------------------------------------------------------


def test_figures_have_what_is_promised(root):
    figures = evaluate(root, "--model", "geometric")
    assert {"n", "bins", "inferred_share", "settings", "seconds_per_object"} <= set(figures)
    assert figures["n"] == 18 and set(figures["bins"]) <= set(BINS)
    bin_ = figures["bins"]["(0.3, 0.5]"]
    assert {"n", "modal", "hull", "bounded_hull", "ours", "interval"} <= set(bin_)
    assert bin_["modal"] == pytest.approx(0.6875) and bin_["bounded_hull"] == pytest.approx(1.0)
    assert bin_["differences"]["modal"]["mean"] == pytest.approx(0.3125)
    assert figures["inferred_share"] == 0


def test_a_model_is_measured(root, model, tmp_path, capsys):
    sam = save_sam(tmp_path / "sam")
    options = ("--model", model, "--modal-segmenter", sam, "--set", "steps=2", "--occluders", "any")
    figures = evaluate(root, *options, "--limit", 4)
    assert figures["n"] == 4 and figures["inferred_share"] == 1 and "sam" in figures["bins"]["all"]
    settings = figures["settings"]["methods"]["ours"]["settings"]
    assert settings["sampling"]["steps"] == 2
    assert settings["occluders"] == "any"
    assert "ours*" in capsys.readouterr().out, "it looks at neighbours, so it is marked"


def test_the_papers_preset_sees_no_neighbours(root, model):
    figures = evaluate(root, "--model", model, "--preset", "paper", "--set", "steps=2", "--limit", 2)
    assert figures["methods"]["ours"]["sees_neighbours"] is False


def test_ablation_has_table_2_and_every_reading(root, model, capsys):
    variants = evaluate(root, "--model", model, "--ablation", "--set", "steps=2", "--limit", 2)["ablation"]
    assert len(variants) == 2 * (5 + 4)
    printed = capsys.readouterr().out
    for text in ("anchored_real, occluders off", "equation, occluders instances", "without leakage", "38.9", "76.5"):
        assert text in printed


@pytest.mark.parametrize("choice, n", [("0:0.5", 12), (":0", 6), ("0.3:", 6), ("0:0.3", 6)])
def test_occlusion_selects_objects(root, choice, n):
    assert evaluate(root, "--model", "geometric", "--occlusion", choice)["n"] == n


def test_limit_takes_the_first_objects(root):
    assert evaluate(root, "--model", "geometric", "--limit", 7)["n"] == 7


@pytest.mark.parametrize(
    "options, message",
    [
        (["--set", "steps"], "KEY=VALUE"),
        (["--set", "stepz=3"], "unknown setting"),
        (["--set", "steps=many"], "steps: expected"),
        (["--shard", "1/2"], "--out"),
        (["--limit", "0"], "limit"),
        (["--occlusion", "0.95:1"], "no object"),
        (["--model", "geometric", "--reading", "soft"], "no setting but occluders"),
    ],
)
def test_wrong_usage_is_told(root, options, message, capsys):
    if "--model" not in options:
        options = ["--model", "geometric", *options]
    assert main(["evaluate", "coco-a", "--root", str(root), *options]) == 1
    assert message in capsys.readouterr().err


def test_streets_of_the_frozen_list(tmp_path):
    file = tmp_path / "figures.json"
    options = ["--split", "test-unseen", "--labels", "all", "--noise", "1", "--json", str(file)]
    assert main([*STREETS, *options, "--limit", "6", "--depth"]) == 0
    figures = json.loads(file.read_text())
    assert figures["n"] == 6 and "test-unseen, labels all, label noise 1" in figures["protocol"]


@pytest.mark.skipif(not (DATA / "cocoa").is_dir(), reason="the real COCO-A images are not here")
def test_real_coco_a_images(tmp_path):
    file = tmp_path / "figures.json"
    assert main(["evaluate", "coco-a", "--root", str(DATA / "cocoa"), "--model", "geometric", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert figures["n"] == 13 and figures["bins"]["unoccluded"]["n"] == 7
    assert figures["bins"]["(0, 0.8]"]["bounded_hull"] > figures["bins"]["(0, 0.8]"]["modal"] + 0.1


@pytest.mark.skipif(not (DATA / "paste_coco").is_dir(), reason="the real composites are not here")
def test_real_composites_agree_with_their_published_baselines(tmp_path):
    file = tmp_path / "figures.json"
    assert main(["evaluate", "folder", str(DATA / "paste_coco"), "--model", "geometric", "--json", str(file)]) == 0
    bin_ = json.loads(file.read_text())["bins"]["(0, 0.5]"]
    assert (bin_["n"], bin_["sources"]) == (33, 11)
    assert bin_["modal"] == pytest.approx(0.700, abs=0.005) and bin_["hull"] == pytest.approx(0.660, abs=0.01)


# --- runs on disk ----------------------------------------------------------------------------------------


def kill_after(process, file, lines):
    """SIGKILL once `file` has so many lines more than it has now."""
    there = file.read_text().count("\n") if file.exists() else 0
    while process.poll() is None and (file.read_text().count("\n") if file.exists() else 0) < there + lines:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode


def test_a_run_over_streets_killed_twice_ends_with_the_same_table(tmp_path, capsys):
    assert main([*STREETS, "--out", str(tmp_path / "unbroken")]) == 0
    broken = tmp_path / "broken"
    for _ in range(2):
        process = start(["-m", "amodal_ros.cli", *STREETS, "--out", broken])
        assert kill_after(process, broken / "objects-1-of-1.jsonl", 5) == -signal.SIGKILL
    objects = broken / "objects-1-of-1.jsonl"
    before = objects.read_text()
    assert 10 <= before.count("\n") < 30
    with objects.open("a") as stream:
        stream.write('{"frame": "cut sho')
    assert main(["tables", str(broken)]) == 1, "no table from an unfinished run"
    assert "not finished" in capsys.readouterr().err
    assert main([*STREETS, "--out", str(broken)]) == 0
    assert objects.read_text().startswith(before), "what was done is kept"
    assert table(broken, capsys) == table(tmp_path / "unbroken", capsys)


def test_a_run_refuses_other_settings(root, tmp_path, capsys):
    run = ["evaluate", "coco-a", "--root", str(root), "--out", str(tmp_path / "run"), "--model", "geometric"]
    assert main([*run, "--occluders", "any"]) == 0
    assert main([*run, "--occluders", "instances"]) == 1
    assert "methods.ours.settings.occluders = 'any', expected 'instances'" in capsys.readouterr().err


def test_a_run_refuses_other_weights(root, tmp_path, capsys):
    model = save_stable_diffusion(tmp_path / "model")
    run = ["evaluate", "coco-a", "--root", str(root), "--out", str(tmp_path / "run"), "--model", str(model)]
    assert main([*run, "--set", "steps=1", "--limit", "1"]) == 0
    save_stable_diffusion(tmp_path / "model", seed=1)
    assert main([*run, "--set", "steps=1", "--limit", "1"]) == 1
    assert "holds a run with weights" in capsys.readouterr().err


def test_two_shards_merge_into_one_run(root, tmp_path, capsys):
    run = ["evaluate", "coco-a", "--root", str(root), "--model", "geometric", "--limit", "13"]
    assert main([*run, "--out", str(tmp_path / "one")]) == 0
    for i, home in ((1, "a"), (2, "b")):  # on two machines: nothing is shared, and the data lie elsewhere
        elsewhere = tmp_path / f"data-{home}"
        shutil.copytree(root, elsewhere)
        run[3] = str(elsewhere)
        assert main([*run, "--shard", f"{i}/2", "--out", str(tmp_path / home)]) == 0
    homes = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["evaluate", "merge", *homes, "--out", str(tmp_path / "merged")]) == 0
    assert table(tmp_path / "merged", capsys) == table(tmp_path / "one", capsys)
    assert main(["evaluate", "merge", homes[0], "--out", str(tmp_path / "half")]) == 1
    assert "shard 2 of 2 is missing" in capsys.readouterr().err


def test_shards_of_different_runs_do_not_merge(root, tmp_path, capsys):
    run = ["evaluate", "coco-a", "--root", str(root), "--model", "geometric"]
    for i, home, limit in ((1, "a", "13"), (2, "b", "12")):
        assert main([*run, "--limit", limit, "--shard", f"{i}/2", "--out", str(tmp_path / home)]) == 0
    homes = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["evaluate", "merge", *homes, "--out", str(tmp_path / "merged")]) == 1
    assert "limit = 12, expected 13" in capsys.readouterr().err


def test_two_torchrun_processes_share_a_run(root, tmp_path, capsys):
    run = ["evaluate", "coco-a", "--root", str(root), "--model", "geometric"]
    assert main([*run, "--out", str(tmp_path / "one")]) == 0
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "amodal_ros.cli"]
    process = start([*launcher, *run, "--out", tmp_path / "two"])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "coco-a, model geometric" in out, "whoever is last prints the table"
    assert (tmp_path / "two" / "objects-2-of-2.jsonl").exists()
    assert table(tmp_path / "two", capsys) == table(tmp_path / "one", capsys)


def test_a_full_disk_loses_at_most_the_last_object(root, tmp_path, capsys):
    run = ["evaluate", "coco-a", "--root", str(root), "--model", "geometric"]
    assert main([*run, "--out", str(tmp_path / "one")]) == 0
    small = tmp_path / "small"
    room = 2500  # bytes per file: enough for the settings and a few objects
    process = start(
        ["-m", "amodal_ros.cli", *run, "--out", small],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "File too large" in err and "goes on from here" in err
    whole = (small / "objects-1-of-1.jsonl").read_bytes()[:room].count(b"\n")
    assert whole >= 2
    assert main([*run, "--out", str(small)]) == 0
    assert table(small, capsys) == table(tmp_path / "one", capsys)


def test_masks_are_kept_and_are_those_that_were_scored(root, tmp_path):
    folder = tmp_path / "run"
    evaluate(root, "--model", "geometric", "--out", folder, "--save-masks")
    truth = {(s.frame_id, o.id): o.amodal for s in CocoA(root) for o in s.objects}
    records = [json.loads(line) for line in (folder / "objects-1-of-1.jsonl").read_text().splitlines()]
    masks = [json.loads(line) for line in (folder / "masks-1-of-1.jsonl").read_text().splitlines()]
    assert len(records) == len(masks) == 18
    for record, row in zip(records, masks):
        key = record["frame"], record["object"]
        assert (row["frame"], row["object"]) == key
        for method, pair in record["overlaps"].items():
            assert list(overlap(decode(row["masks"][method]), truth[key], (HEIGHT, WIDTH))) == pair


@pytest.mark.parametrize("mask", [MaskRegion.empty(), MaskRegion.from_full(~MaskRegion.empty().full(3, 5), -7, 2)])
def test_masks_survive_json(mask):
    assert decode(json.loads(json.dumps(encode(mask)))) == mask


def test_bad_data_stops_or_is_counted(tmp_path, model, capsys):
    root = case_folder(tmp_path / "cases", "a")
    case_folder(root, "b")
    image = root / "a" / "image.png"
    image.write_bytes(image.read_bytes()[:1000])
    run = ["evaluate", "folder", str(root), "--model", str(model), "--set", "steps=2"]
    assert main(run) == 1
    assert "image.png" in capsys.readouterr().err
    assert main([*run, "--skip-bad", "--out", str(tmp_path / "run")]) == 0
    assert "1 bad items skipped" in capsys.readouterr().out
    assert main([*run, "--skip-bad", "--out", str(tmp_path / "run")]) == 0, "continued, the count stays"
    assert "1 bad items skipped" in capsys.readouterr().out


# --- tables ----------------------------------------------------------------------------------------------


def test_tables_put_published_figures_beside_ours(root, tmp_path, capsys):
    evaluate(root, "--model", "geometric", "--out", tmp_path / "run")
    capsys.readouterr()
    assert main(["tables", str(tmp_path / "run"), "--format", "csv", "--out", str(tmp_path / "out")]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert ["paper (published)", "SDXL", "71.0", "82.7", "75.6", "60.4", "73.0", "63.5"] in rows
    ours = next(row for row in rows if row[:2] == ["ours*", "geometric, occluders instances"])
    assert ours[2:] == ["not run", ours[3], "not run", "not run", "not run", "not run"]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "tables.txt",
        "tables.md",
        "tables.csv",
        "bars.png",
        "occlusion-run.png",
    }
    assert (tmp_path / "out" / "bars.png").stat().st_size > 5000


def test_table_1_keeps_runs_with_other_settings_apart(root, tmp_path, capsys):
    for occluders in ("instances", "off"):
        evaluate(root, "--model", "geometric", "--occluders", occluders, "--out", tmp_path / occluders)
    capsys.readouterr()
    assert main(["tables", str(tmp_path / "instances"), str(tmp_path / "off"), "--format", "csv"]) == 0
    rows = [row for row in csv.reader(capsys.readouterr().out.splitlines()) if row and row[0].startswith("ours")]
    assert [row[:2] for row in rows] == [
        ["ours*", "geometric, occluders instances"],
        ["ours", "geometric, occluders off"],
    ]


def test_tables_without_runs_show_what_is_not_run(capsys):
    assert main(["tables", "--format", "markdown"]) == 0
    assert "| ours | - | not run | not run | not run | not run | not run | not run |" in capsys.readouterr().out


def test_tables_refuse_what_is_no_run(tmp_path, capsys):
    assert main(["tables", str(tmp_path)]) == 1
    assert "no run here" in capsys.readouterr().err


# --- datasets check --------------------------------------------------------------------------------------


def test_check_counts_and_draws(root, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert main(["datasets", "check", "coco-a", str(root), "--sheet", str(sheet), "--pictures", "5"]) == 0
    printed = capsys.readouterr().out
    assert "frames 6, objects 18" in printed and "dougnut 18" in printed and "0: 6" in printed
    assert sheet.stat().st_size > 1000


def test_check_reports_violations(tmp_path, capsys):
    outside = region(20, 10, 15, 15, 2, hidden=(20, 10, 5, 15))
    outside["visible_mask"] = region(2, 2, 30, 20, 1, hidden=(0, 0, 1, 1))["visible_mask"]
    hidden = region(5, 5, 10, 10, 2, hidden=(0, 0, WIDTH, HEIGHT))
    root = coco_a(tmp_path, [annotation(1, 10, [outside, hidden]), annotation(2, 11, [outside])], images=2)
    (root / "val2014" / "COCO_val2014_000000000001.jpg").unlink()
    assert main(["datasets", "check", "coco-a", str(root)]) == 1
    printed = capsys.readouterr().out
    assert "wholly hidden 1" in printed and "outside the amodal one 2" in printed
    assert "unreadable 1" in printed and "000000000001.jpg: the file is missing" in printed
