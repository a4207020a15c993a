"""What `amodal bench` prints. Imports no torch."""

from __future__ import annotations

from typing import Any


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    random = "RANDOM WEIGHTS: speed and memory only, the masks mean nothing" if "batches" in report else "architecture"
    weights = random if report["random_weights"] else "weights"
    sizes = ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in report["parameters"].items())
    lines = [
        f"{report['model']} ({weights}), {report['resolution']} px, {report['dtype']}, {report['machine']}",
        f"per object {_many(report['samples'], 'sample')} of {_many(report['steps'], 'step')} of "
        f"{_many(report['evaluations_per_step'], 'evaluation')}, reading {report['reading']}",
        f"parameters: {sizes}",
        _text_encoders(report["text_encoders"]),
        "",
    ]
    if "batches" in report:
        lines += [*_batches(report), "", *_networks(report)]
    else:
        lines += _counts(report["networks"])
    return "\n".join(lines)


def _text_encoders(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "text encoders: none, the empty prompt's embedding is stored"
    flops, parameters = figures["flops"] / 1e9, figures["parameters"] / 1e6
    return f"text encoders: {parameters:,.1f} M, {flops:,.1f} GFLOP, once while loading"


def _batches(report: dict[str, Any]) -> list[str]:
    """Seconds and memory, a line for every batch size."""
    head = f"{'objects':>8} {'s/object':>9} {'of it segmenter':>16} {'peak GiB':>9}"
    lines = [head + "  plain/ours" * ("plain" in report)]
    for row in report["batches"]:
        line = f"{row['objects']:>8} {row['seconds_per_object']:>9.3f} {row['segmenter_seconds_per_object']:>16.3f} "
        line += f"{row['peak_bytes'] / 2**30:>9.2f}"
        if "plain" in report:
            painting = row["seconds_per_object"] - row["segmenter_seconds_per_object"]
            line += f"{report['plain']['seconds'] / painting:>11.2f}x"
        lines.append(line + ("" if row["fit"] else "  (did not fit together; done in halves)"))
    if "plain" in report:
        plain = report["plain"]
        memory = plain["peak_bytes"] / 2**30
        lines.append(f"{'plain':>8} {plain['seconds']:>9.3f} {'-':>16} {memory:>9.2f}  one call per object")
        lines.append(f"plain: {plain['evaluations']}; plain/ours compares painting alone, without the segmenter")
    if report["device"] == "cpu":
        lines.append("peak GiB on a CPU: the process since its start, libraries and loading included")
    return lines


def _networks(report: dict[str, Any]) -> list[str]:
    """What the networks take of the largest batch, per object, beside what the device can do."""
    batch = max(report["batches"], key=lambda row: row["objects"])
    networks, seconds = batch["networks"], batch["seconds_per_object"]
    peaks = ", ".join(f"{dtype} {peak / 1e9:,.0f} GFLOP/s" for dtype, peak in report["matrix_peak"].items())
    around = max(0.0, seconds - sum(row["seconds"] for row in networks))
    lines = [
        f"{_many(batch['objects'], 'object')} together; the device's matrix peak, measured now: {peaks}",
        f"{'per object':<18} {'calls':>5} {'GFLOP':>10} {'ms':>9} {'GFLOP/s':>9} {'of peak':>8} {'floor ms':>9}",
    ]
    lines += [_line(row["name"], row["calls"], row["flops"], row["seconds"], row["floor_seconds"]) for row in networks]
    lines.append(f"{'around them':<18} {'':>5} {'':>10} {1e3 * around:>9.2f}")
    flops = sum(row["flops"] for row in networks)
    lines.append(_line("together", "", flops, seconds, batch["floor_seconds_per_object"]))
    lines.append("floor: the operations at that peak. GFLOP: matrices, convolutions and attention, two a multiply-add")
    return lines


def _line(name: str, calls: int | str, flops: int, seconds: float, floor: float) -> str:
    speed, share = (flops / seconds / 1e9, floor / seconds) if seconds else (0.0, 0.0)
    return (
        f"{name:<18} {calls:>5} {flops / 1e9:>10,.2f} {1e3 * seconds:>9.2f} {speed:>9,.0f} {share:>8.0%} "
        f"{1e3 * floor:>9.2f}"
    )


def _counts(networks: list[dict[str, Any]]) -> list[str]:
    """Operations alone."""
    whole = sum(row["flops"] for row in networks)
    lines = [f"{'per object':<18} {'calls':>5} {'GFLOP':>10} {'share':>6}"]
    for row in networks:
        lines.append(f"{row['name']:<18} {row['calls']:>5} {row['flops'] / 1e9:>10,.2f} {row['flops'] / whole:>6.0%}")
    return [*lines, f"{'together':<18} {'':>5} {whole / 1e9:>10,.2f}"]


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)
