"""The fault table: break the node in some fifty ways, as a robot would, and see what becomes of the frames.

    ./env python benchmarks/faults.py --json benchmarks/faults.json --table docs/reliability.md
    ./env python benchmarks/faults.py --quick
    ./env python benchmarks/faults.py --only 'A3|signals'

Nodes, cameras and players are processes of their own in a default environment. With --only, rows that --json holds
already and that were not asked for stay as they are, so that a long table can be made in pieces.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))  # ./env keeps a script's own folder off the path

from fault_table import bags, inputs, lifecycle, parameters, streams, telling, tested, troubles  # noqa: F401
from fault_table.table import FAIL, PASS, ROWS, carry_out, machine, sections

MARKS = ("<!-- table: made by benchmarks/faults.py -->", "<!-- end of table -->")


def main() -> int:
    """Returns 1 if a row fails."""
    args = _arguments()
    rows = sections(ROWS)
    chosen = [r for r in rows if re.search(args.only, r.title, re.IGNORECASE) and (r.quick or not args.quick)]
    if args.list:
        print("\n".join(r.title for r in chosen))
        return 0
    results = {}
    if args.json and args.json.exists() and len(chosen) < len(rows):
        results = {f"{r['section']}: {r['name']}": r for r in json.loads(args.json.read_text())["rows"]}
    for k, entry in enumerate(chosen, 1):
        result = results[entry.title] = carry_out(entry)
        print(f"[{k}/{len(chosen)}] {result['verdict']:7} {entry.title} ({result['seconds']} s)", flush=True)
        print(f"    sent: {result['sent']}\n    expected: {result['expected']}\n    seen: {result['seen']}", flush=True)
        if args.json:
            _write(args.json, [results[r.title] for r in rows if r.title in results])
    ordered = [results[r.title] for r in rows if r.title in results]
    if args.table:
        args.table.write_text(_with_table(args.table.read_text(), ordered))
    verdicts = Counter(r["verdict"] for r in ordered)
    print(", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common()))
    return 1 if verdicts[FAIL] else 0


def _write(path: Path, results: list[dict]) -> None:
    path.write_text(json.dumps({"machine": machine(), "rows": results}, indent=1, ensure_ascii=False) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help="rows whose title matches (regular expression)")
    parser.add_argument("--quick", action="store_true", help="leave out the rows that take longer than some seconds")
    parser.add_argument("--list", action="store_true", help="name the rows, run none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--table", type=Path, metavar="FILE", help="put the table into this document")
    return parser.parse_args()


def _with_table(document: str, results: list[dict]) -> str:
    lines = ["| | fault | sent | expected | seen | |", "| --- | --- | --- | --- | --- | --- |"]
    for r in results:
        cells = (str(r[key]).replace("|", "\\|") for key in ("section", "name", "sent", "expected", "seen"))
        lines.append(
            f"| {' | '.join(cells)} | {r['verdict'] if r['verdict'] == PASS else '**' + r['verdict'] + '**'} |"
        )
    before, _, rest = document.partition(MARKS[0])
    return before + "\n".join([MARKS[0], "", *lines, "", MARKS[1]]) + rest.partition(MARKS[1])[2]


if __name__ == "__main__":
    sys.exit(main())
