"""Which variant was made from which: the tree of recipes."""

from __future__ import annotations

import json

import altair as alt
import pandas as pd

from workbench.charts.columns import column, judged_by
from workbench.charts.marks import FRONT, LINE, check_frame, data, flag, legend, numbers, roles, texts
from workbench.errors import unknown
from workbench.interface.arguments import check_kinds
from workbench.studies.lineage import lineage as tree

_STEP = 30  # pixels from one variant to the next
_INDENT = 26  # pixels from a variant to what continues it
_DEEP = 12  # where the scale of depths ends; what is deeper goes on beyond it
_COLUMNS = ("id", "name", "role", "feasible", "elsewhere", "depth", "place", "from_depth", "from_place", "step", "text")


@check_kinds
def lineage(frame: pd.DataFrame, *, x: str = "speedup", y: str = "") -> alt.LayerChart:
    """A tree with one variant a line: each hangs under the one whose recipe it continues, named by what it adds.

    At the right stand `y`, or what variants are judged by, and the speed-up. Groups, pale and hollow marks and the
    parameter `selected` are those of `tradeoff`. `frame` has the columns of `Study.frame()`.
    """
    base = alt.Chart(data(lineage_points(frame, x=x, y=y)))
    depths = alt.Scale(domain=[0, _DEEP], range=[10, 10 + _INDENT * _DEEP], nice=False)
    across = alt.X("depth:Q", axis=None, scale=depths)
    up = alt.Y("place:O", axis=None)
    branch = base.transform_filter("isValid(datum.from_place)").mark_rule(color=LINE, strokeWidth=1.2)
    start = alt.X("from_depth:Q", axis=None)
    down = branch.encode(x=start, y=alt.Y("from_place:O", axis=None), y2="place:O")
    along = branch.encode(x=start, x2="depth:Q", y=up)
    pale = alt.condition("datum.feasible", alt.value(1.0), alt.value(0.55))
    words = base.mark_text(align="left", dx=13, cursor="pointer").encode(x=across, y=up, text="step:N", opacity=pale)
    plain = words.transform_filter("datum.id != selected")
    bold = words.transform_filter("datum.id == selected").mark_text(align="left", dx=13, fontWeight=700)
    figures = base.mark_text(align="right", cursor="pointer")
    figures = figures.encode(x=alt.value("width"), y=up, text="text:N", opacity=pale)
    layers = [down, along, *_marks(base, across, up), plain, bold, figures]
    chart = alt.LayerChart(layer=layers, width="container", height=alt.Step(_STEP))
    return chart.add_params(alt.param(name="selected", value=""))


def _marks(base: alt.Chart, across: alt.X, up: alt.Y) -> list[alt.Chart]:
    colours, shapes = ([pair[i] for pair in FRONT.values()] for i in (0, 1))
    above = legend(90)
    domain = alt.Scale(domain=list(FRONT), range=colours)
    look = {
        "shape": alt.Shape("role:N", title=None, scale=alt.Scale(domain=list(FRONT), range=shapes), legend=above),
        "fill": alt.Fill("role:N", title=None, scale=domain, legend=above),
        "stroke": alt.Stroke("role:N", title=None, scale=domain, legend=None),
        "fillOpacity": alt.condition("datum.elsewhere", alt.value(0.12), alt.value(1.0)),
        "opacity": alt.condition("datum.feasible", alt.value(1.0), alt.value(0.3)),
    }
    ring = base.transform_filter("datum.id == selected").mark_point(
        shape="circle", size=480, strokeWidth=2, filled=False, color=colours[0]
    )
    points = base.mark_point(size=110, strokeWidth=1.5, cursor="pointer").properties(name="points")
    tooltip = [alt.Tooltip("name:N", title="Variant"), alt.Tooltip("text:N", title="Figures")]
    return [ring.encode(x=across, y=up), points.encode(x=across, y=up, tooltip=tooltip, **look)]


@check_kinds
def lineage_points(frame: pd.DataFrame, *, x: str = "speedup", y: str = "") -> pd.DataFrame:
    """The rows of `lineage`, in the order in which the tree is read."""
    check_frame(frame)
    if frame.empty:
        return pd.DataFrame(columns=list(_COLUMNS))
    y = y or judged_by(frame)
    table = frame.reset_index(drop=True)
    places = tree(steps_of(table))
    line = {place.row: index for index, place in enumerate(places)}
    depth = {place.row: place.depth for place in places}
    names = texts(table, "name")
    found = pd.DataFrame({
        "id": texts(table, "id"), "name": names, "role": roles(table, x, y),
        "feasible": flag(table, "feasible", True), "elsewhere": flag(table, "elsewhere", False),
        "text": _figures(table, y),
    }).iloc[[place.row for place in places]].reset_index(drop=True)  # fmt: skip
    found["depth"] = [place.depth for place in places]
    found["place"] = range(len(places))
    found["from_depth"] = pd.array([depth.get(p.parent) for p in places], dtype="Int64")
    found["from_place"] = pd.array([line.get(p.parent) for p in places], dtype="Int64")
    found["step"] = [_added(names[p.row], names[p.parent] if p.parent >= 0 else "") for p in places]
    return found[list(_COLUMNS)]


@check_kinds
def lineage_summary(frame: pd.DataFrame) -> str:
    """The tree in words, for a reader who cannot see it."""
    if frame.empty:
        return "Lineage: nothing measured yet."
    rows = lineage_points(frame)
    count = "one variant" if len(rows) == 1 else f"{len(rows)} variants"
    text = f"Lineage of {count}, {int(rows['depth'].max()) + 1} deep."
    names, parents = rows["name"].to_list(), rows["from_place"].fillna(-1).astype(int)
    pairs = zip(names, parents, rows["from_depth"].fillna(0), strict=True)
    said = [f"{name} continues {names[parent]}" for name, parent, depth in pairs if depth > 0]
    return f"{text} {'; '.join(said)}." if said else f"{text} None continues another's recipe."


@check_kinds
def steps_of(frame: pd.DataFrame) -> list[list[str]]:
    """The steps of each row's recipe, each as text."""
    if "recipe" not in frame:
        raise unknown("column", "recipe", map(str, frame.columns))
    return [[json.dumps(step, sort_keys=True) for step in json.loads(recipe)] for recipe in frame["recipe"]]


def _added(name: str, parent: str) -> str:
    """What a recipe adds to the one that it continues: `+ int8` for `Tucker 0.5 + int8` under `Tucker 0.5`."""
    rest = name.removeprefix(f"{parent} + ")
    return f"+ {rest}" if rest != name else name


def _figures(frame: pd.DataFrame, y: str) -> list[str]:
    """`93.2 %, 2.45×`; a figure that is missing is left out."""
    shown = [column(y), column("speedup")]
    values = zip(numbers(frame, y), numbers(frame, "speedup"), strict=True)
    return [
        ", ".join(one.text(value) for one, value in zip(shown, pair, strict=True) if pd.notna(value)) for pair in values
    ]
