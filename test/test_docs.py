"""The documentation holds together: links lead somewhere, every page is in the site, every command exists."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from amodal_ros import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """As GitHub and MkDocs name them: lower case, spaces to hyphens, no punctuation."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(FENCE.sub("", page.read_text())) if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    broken = []
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_site():
    nav = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    named = set(re.findall(r"[\w-]+\.md", nav))
    assert named == {page.name for page in PAGES} - {"README.md"}


def commands(page: Path) -> list[str]:
    """Command lines of `amodal` in a page's code blocks, without comments and without those that show a pattern."""
    blocks = re.findall(r"^```(?:bash)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.split("  ")[0].partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    lines = [line.removeprefix("./env ") for line in lines]
    return [line for line in lines if line.startswith("amodal ") and not re.search(r"\[|\.\.\.|\||[A-Z]{3}", line)]


@pytest.mark.parametrize(("page", "line"), [(p, line) for p in PAGES for line in commands(p)], ids=str)
def test_commands_of_the_docs_can_be_typed(page, line):
    words = shlex.split(line)[1:]
    if words == ["--version"]:
        return
    assert cli.parser_for(words).parse_args(words).command == words[0]


def test_nothing_is_left_to_fill_in():
    for page in PAGES:
        found = re.search(r"REPOSITORY|SIZE_[A-Z]+|TODO|\.\./shared", page.read_text())
        assert found is None, f"{page.name}: {found}"


def test_foxgloves_layout_holds_together():
    """Every panel is placed once, and every topic of ours is one that a node's page names."""
    text = (ROOT / "config" / "foxglove.json").read_text()
    layout = json.loads(text)

    def panels(tree: str | dict) -> list[str]:
        if isinstance(tree, str):
            tabs = layout["configById"][tree].get("tabs", [])
            return [tree, *(panel for tab in tabs for panel in panels(tab["layout"]))]
        return [*panels(tree["first"]), *panels(tree["second"])]

    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
    topics = set(re.findall(r"/amodal_(node|obstacles)/(\w+)", text))
    assert ("node", "annotations") in topics
    for node, topic in topics:
        assert f"`~/{topic}`" in (ROOT / "docs" / f"{node}.md").read_text()
