"""The parser of every command: options anywhere between the files, defaults and examples in ``--help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults are told where there are any; examples keep their lines."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent: tuple[object, ...] = (None, False, "", [], ())
        return action.help if action.default in silent else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose options may stand between positional arguments: ``IMAGE --model X MASK``.

    Its sub-parsers are of the same kind.
    """

    _mixing = False

    def __init__(self, *args: Any, **keywords: Any) -> None:
        keywords.setdefault("formatter_class", _Help)
        super().__init__(*args, **keywords)

    def add_examples(self, *commands: str) -> None:
        """Lines that ``--help`` ends with."""
        self.epilog = "\n  ".join(("examples:", *commands))

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        if self._mixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._mixing = True  # argparse's own way there calls this method again
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False
