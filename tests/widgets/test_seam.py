"""What crosses to the page has the types that Python and JavaScript were checked with."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any, get_type_hints, is_typeddict

import pytest
from conforming import differences

from workbench_widgets.page import Panel
from workbench_widgets.screen import PANELS
from workbench_widgets.seam.cells import Cell, Drawing
from workbench_widgets.seam.chart_view import LimitRule
from workbench_widgets.seam.page_view import JobLine, StatusView
from workbench_widgets.store import State

JAVASCRIPT = Path(__file__).parents[2] / "widgets" / "js"
JOB = {
    "id": 1, "name": "SVD", "state": "running", "active": True, "percent": 5, "stage": "", "seconds": 1.5, "left": None,
    "details": ["a"],
}  # fmt: skip


def test_the_types_of_the_page_are_those_of_python() -> None:
    made = runpy.run_path(str(JAVASCRIPT / "declare.py"))["declared"]()
    assert (JAVASCRIPT / "src" / "views.d.ts").read_text(encoding="utf-8") == made, "run `make views`"


def test_what_a_panel_s_widget_shares_is_what_the_page_knows() -> None:
    own = Panel.class_own_traits(sync=True)
    known = re.search(r"interface Shared \{(.*?)\}", (JAVASCRIPT / "src" / "types.d.ts").read_text(), re.DOTALL)
    assert known is not None
    assert set(re.findall(r"(\w+):", known.group(1))) == {name for name in own if not name.startswith("_")}


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_s_view_is_a_typed_dict_and_is_one_before_anything_is_loaded(panel: str) -> None:
    view, _ = PANELS[panel]
    kind = get_type_hints(view)["return"]
    assert is_typeddict(kind)
    assert list(differences(view(State()), kind)) == []


@pytest.mark.parametrize(("value", "kind", "said"), [
    ({"text": "a", "kind": "info"}, StatusView, None),
    ({"text": "a"}, StatusView, "kind is missing"),
    ({"text": "a", "kind": 1}, StatusView, "kind is 1"),
    ({"text": "a", "kind": "info", "more": 1}, StatusView, "more is not among"),
    (JOB, JobLine, None),
    (JOB | {"left": "5"}, JobLine, "left is '5'"),
    (JOB | {"percent": True}, JobLine, "percent is True"),
    (JOB | {"details": ("a",)}, JobLine, "no list"),
    (JOB | {"details": ["a", 2]}, JobLine, r"details[1] is 2"),
    ({"value": 0.5, "text": "a"}, Cell, None),
    ({"value": 0.5, "text": "a", "sub": None}, Cell, "sub is None"),
    ({"spec": {}, "rows": [{"a": 1}], "summary": ""}, Drawing, None),
    ({"axis": "z"}, LimitRule, "axis is 'z'"),
])  # fmt: skip
def test_the_comparison_with_a_type_finds_what_differs(value: Any, kind: Any, said: str | None) -> None:
    found = list(differences(value, kind))
    assert not found if said is None else any(said in one for one in found)
