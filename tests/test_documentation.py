"""The pages hang together: navigation, links, techniques, public names. Read as Markdown; `make docs` builds them."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import workbench as wb
from workbench import glossary
from workbench.steps import REGISTRY

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MARKER = re.compile(r"^<!-- (\w+)(?:: (\w+))? -->$", re.MULTILINE)
SECTIONS = ["Formula", "When it helps", "When it hurts", "Measured", "Settings", "Source"]


@pytest.fixture(scope="module")
def site() -> Iterator[dict[str, ModuleType]]:
    """The modules that make the pages."""
    sys.path.insert(0, str(DOCS / "site"))
    try:
        yield {name: importlib.import_module(name) for name in ("pages", "generated", "pictures", "check")}
    finally:
        sys.path.remove(str(DOCS / "site"))


def texts(site: dict[str, ModuleType]) -> dict[str, str]:
    """Every page of the navigation by its path, as its source has it; notebooks as their text."""
    found = {page: site["pages"].source_of(page) for page in site["pages"].nav()}
    return {page: path.read_text(encoding="utf-8") for page, path in found.items() if path.suffix == ".md"}


def test_the_navigation_has_every_page_and_no_other(site: dict[str, ModuleType]) -> None:
    pages = site["pages"]
    listed = pages.nav()
    assert len(set(listed)) == len(listed)
    assert [page for page in listed if not pages.source_of(page).is_file()] == []
    own = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert own | set(pages.ELSEWHERE) == set(listed)


def dead(site: dict[str, ModuleType], page: str, text: str) -> Iterator[str]:
    pages = site["pages"]
    for target in pages.links(text):
        path, _, anchor = target.partition("#")
        if pages.outside(target):
            continue
        there = (pages.source_of(page).parent / path).resolve() if path else pages.source_of(page)
        if not there.exists():
            yield target
        elif anchor and there.suffix == ".md":
            known = pages.anchors(there.read_text(encoding="utf-8"))
            if anchor not in known | (set(glossary.TERMS) if there == DOCS / "glossary.md" else set()):
                yield target


def test_every_link_leads_somewhere(site: dict[str, ModuleType]) -> None:
    found = {page: list(dead(site, page, text)) for page, text in texts(site).items()}
    assert sum(len(list(site["pages"].links(text))) for text in texts(site).values()) > 100
    assert {page: links for page, links in found.items() if links} == {}


@pytest.mark.parametrize(("text", "wanted"), [
    ("[a](docs/exports.md#before-it-counts)", "[a](exports.md#before-it-counts)"),
    ("[`check.py`](docs/exports.md) and ![x](docs/images/dashboard.png)",
     "[`check.py`](exports.md) and ![x](images/dashboard.png)"),
    ("| ![one](docs/images/front-fashion-vgg.png) |", "| ![one](images/front-fashion-vgg.png) |"),
    ("`[a](docs/exports.md)`", "`[a](docs/exports.md)`"),
    ("```\n[a](docs/exports.md)\n```", "```\n[a](docs/exports.md)\n```"),
    ("[a folder of sources](workbench/steps)", "a folder of sources"),
    ("[labs](notebooks/labs), [out](https://example.org/a.md)", "[labs](labs/index.md), [out](https://example.org/a.md)"),
])  # fmt: skip
def test_links_of_the_readme_lead_from_page_to_page(site: dict[str, ModuleType], text: str, wanted: str) -> None:
    assert site["pages"].relinked(text, "index.md") == wanted


@pytest.mark.parametrize("name", REGISTRY)
def test_every_technique_has_a_page(site: dict[str, ModuleType], name: str) -> None:
    page = f"techniques/{site['generated'].page_of_step(name)}"
    assert page in site["pages"].nav()
    text = (DOCS / page).read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    found = MARKER.findall(text)
    assert found[0] == ("figures", name) and found[-1] == ("settings", name)
    assert {part for part, _ in found} <= site["generated"].PARTS.keys()
    assert "```picture\n" in text and "$" in text


#: Techniques whose rows are not there yet; nothing may be added. What other scripts measured of them is on their pages.
UNMEASURED: set[str] = set(
    "CP Finetune GlobalPool Grouped QAT Resolution SVD Separable ShareWeights Shift SpatialSVD Tucker".split()
)


def test_what_is_not_measured_yet_is_known(site: dict[str, ModuleType]) -> None:
    missing = {name for name in REGISTRY if site["generated"].figures(name).startswith("Not measured")}
    assert missing == UNMEASURED


@pytest.mark.parametrize("name", sorted(REGISTRY.keys() - UNMEASURED))
def test_a_technique_is_measured_on_three_networks_and_where_it_fails(site: dict[str, ModuleType], name: str) -> None:
    rows = site["generated"].figures(name).splitlines()
    heads, own = rows[0].split(" | "), [row for row in rows[2:] if "`wb." in row]
    assert {row.count(" | ") + 1 for row in rows[2:]} == {len(heads)}
    for network in ("fashion-vgg", "fashion-resnet", "fashion-mobilenet"):
        assert any(row.startswith(f"| {network} ") for row in own), network
    failing = [row for row in own if "**where it fails**" in row]
    assert failing and all(re.search(r"\d+\.\d\d \(\d", row) for row in failing)


@pytest.mark.parametrize("name", REGISTRY)
def test_settings_are_those_of_the_schema(site: dict[str, ModuleType], name: str) -> None:
    """The schema, which editors use, is made by other code from the same descriptions."""
    wanted = wb.Recipe.schema()["$defs"][name]["properties"]
    table = site["generated"].settings(name)
    rows = {re.split(r" \| ", row)[0].strip("| `"): row for row in table.splitlines()[2:]}
    assert rows.keys() == wanted.keys() - {"step"}
    for setting, about in wanted.items():
        for bound in (about.get("minimum"), about.get("maximum")):
            assert bound is None or f"{bound:,g}" in rows[setting], (setting, bound)
        assert all(repr(choice) in rows[setting] for choice in about.get("enum", ()))


@pytest.mark.parametrize("name", REGISTRY)
def test_the_recipes_of_a_page_are_recipes(site: dict[str, ModuleType], name: str) -> None:
    text = (DOCS / "techniques" / site["generated"].page_of_step(name)).read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for line in code.splitlines():
        made: dict[str, wb.Recipe] = {}
        exec(line, {"wb": wb}, made)
        recipe = wb.Recipe() | made["recipe"]
        assert name in [type(step).__name__ for step in recipe]
        assert wb.Recipe.from_yaml(recipe.to_yaml()) == recipe


def test_every_public_name_has_its_place_in_the_reference() -> None:
    told = " ".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    shown = re.findall(r"^::: ([\w.]+)$", told, re.MULTILINE)
    missing = [name for name in wb.__all__ if not {home(name), f"workbench.{name}"} & set(shown)]
    assert missing == []


def home(name: str) -> str:
    found = getattr(wb, name)
    inner = getattr(found, name, found) if isinstance(found, ModuleType) else found
    return f"{inner.__module__}.{inner.__qualname__}" if hasattr(inner, "__qualname__") else f"workbench.{name}"


def test_pictures_show_layers_in_a_row_and_weights_as_cells(site: dict[str, ModuleType]) -> None:
    drawn = site["pictures"].drawn("Before: a | b | c\nAfter: [1 0; 2 -3]")
    assert drawn.count("<rect") == 3 + 4
    assert drawn.count("<path") == 2
    assert drawn.count('fill-opacity="0"') == 1  # the zero
    assert 'aria-label="Before: a | b | c; After: [1 0; 2 -3]"' in drawn


def test_built_pages_are_looked_through_for_dead_links_and_things_from_elsewhere(
    site: dict[str, ModuleType], tmp_path: Path
) -> None:
    (tmp_path / "one.html").write_text(
        '<script src="https://example.org/a.js"></script><link rel="canonical" href="https://example.org/">'
        '<a href="two.html#there">good</a><a href="two.html#gone">bad</a><a href="three.html">bad</a>'
        '<a href="#here">good</a><h2 id="here"></h2><img src="p.png"><a href="https://example.org">out</a>',
        encoding="utf-8",
    )
    (tmp_path / "two.html").write_text('<h2 id="there"></h2>', encoding="utf-8")
    assert list(site["check"].problems(tmp_path)) == [
        "one.html: loads https://example.org/a.js",
        "one.html: dead link two.html#gone",
        "one.html: dead link three.html",
        "one.html: dead link p.png",
    ]


def test_nothing_is_fetched_by_who_reads_the_pages() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config and "http" not in config
    assert set(yaml.safe_load(config)["validation"].values()) == {"warn"}


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == wb.__version__ and cited["license"] == "MIT"
