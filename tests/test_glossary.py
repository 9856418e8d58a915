"""Every word of the screen is explained, once, and the page has the same explanations."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from workbench import glossary
from workbench.charts import COLUMNS, column
from workbench.charts.marks import FRONT
from workbench.errors import UnknownName
from workbench.steps import REGISTRY
from workbench.tasks import METRICS
from workbench_widgets import comparing, findings, layers

JAVASCRIPT = Path(__file__).parent.parent / "widgets" / "js"


def headings_of_the_diagnosis() -> list[str]:
    """Those that the page writes itself."""
    text = (JAVASCRIPT / "src" / "panels" / "diagnosis.js").read_text(encoding="utf-8")
    return re.findall(r'\{ key: \d, label: "([^"]+)"', text)


def columns_of_findings() -> list[str]:
    return re.findall(r'return Column\("\w+", "([^"]+)"', Path(findings.__file__).read_text(encoding="utf-8"))


def test_every_word_of_the_screen_is_explained() -> None:
    found = {
        "figures": [shown.label for shown in COLUMNS.values()],
        "changes": [column(f"{name}_change").label for name in METRICS],
        "layers": [label for _, label in layers.HEADINGS],
        "layers, measured": columns_of_findings(),
        "diagnosis": headings_of_the_diagnosis(),
        "comparison": [comparing.NOISE],
        "marks": list(FRONT),
        "menu": [kind.family for kind in REGISTRY.values()],
    }
    assert all(found.values())
    assert {where: [word for word in words if not glossary.explained(word)] for where, words in found.items()} == {
        where: [] for where in found
    }


def test_the_page_has_the_explanations_of_the_package() -> None:
    made = runpy.run_path(str(JAVASCRIPT / "terms.py"))["written"]()
    assert (JAVASCRIPT / "src" / "terms.js").read_text(encoding="utf-8") == made, "run `make views bundle`"


def test_a_change_is_told_by_its_figure_and_by_what_a_paired_change_is() -> None:
    told = glossary.about("Change of latency")
    assert told.startswith(glossary.about("Latency")) and told.endswith(glossary.TERMS["paired-change"].text)


def test_a_term_is_explained_once_in_at_most_three_short_sentences() -> None:
    words = [word.lower() for word in glossary.words()]
    assert len(words) == len(set(words))
    texts = [term.text for term in glossary.TERMS.values()]
    assert len(set(texts)) == len(texts)
    assert [text for text in texts if not text.endswith(".") or text.count(". ") > 2 or len(text) > 240] == []


def test_a_word_without_an_explanation_is_refused_with_one_that_is_near() -> None:
    with pytest.raises(UnknownName, match="Pareto front"):
        glossary.about("Pareto frnt")
    assert glossary.explained("a metric of mine") is None
