"""A hook of MkDocs (mkdocs.yml): links to files beside docs/ become their names, which a site has no page for."""

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    return re.sub(r"\[`?([^\]`]+)`?\]\(\.\./([^)]+)\)", r"`\2`", markdown)
