"""What one run shows: its tables and its figures for JSON. Knows how an ablation's variants are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amodal_ros.lab.evaluation.metrics import Record
from amodal_ros.lab.evaluation.results import OURS, result
from amodal_ros.lab.evaluation.tables import Table, ablation_table, bins_table, table_2
from amodal_ros.settings.method import TABLE_2
from amodal_ros.settings.readings import READINGS


def ablation_variants(overrides: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Variant name -> settings: every reading, and Table 2's rows for the paper's, with occluders off and on."""
    asked = overrides.get("occluders", "off")
    variants = {}
    for occluders in ("off", "instances" if asked == "off" else asked):
        for reading in READINGS:
            variants[f"{reading}, occluders {occluders}"] = {**overrides, "reading": reading, "occluders": occluders}
        for row, change in TABLE_2.items():
            variants[_table_2_name(row, occluders)] = {
                "reading": "equation",
                **overrides,
                **change,
                "occluders": occluders,
            }
    return variants


def report(
    settings: Mapping[str, Any], records: Sequence[Record], skipped: Sequence[str]
) -> tuple[list[Table], dict[str, Any]]:
    """A run's tables, and its figures for JSON.

    Raises:
        ValueError: no object was evaluated.
    """
    title = f"{settings['dataset']}, model {settings['model']}"
    ours = [name for name, method in settings["methods"].items() if method["ours"]]
    if ours == [OURS]:
        figures = result(settings, records, skipped)
        return [bins_table(title, figures)], figures
    variants = {name: {"name": name, **result(settings, records, skipped, name)} for name in ours}
    readings = [v for name, v in variants.items() if not name.startswith(_TABLE_2)]
    tables = [ablation_table(f"{title}: readings", readings)]
    for occluders in dict.fromkeys(name.rsplit(" ", 1)[1] for name in ours):
        rows = {row: variants[_table_2_name(row, occluders)] for row in TABLE_2}
        tables.append(table_2(f"{title}: Table 2, occluders {occluders}", rows))
    return tables, {"ablation": list(variants.values())}


_TABLE_2 = "Table 2"


def _table_2_name(row: str, occluders: str) -> str:
    return f"{_TABLE_2} {row}, occluders {occluders}"
