"""What a study that is shown, left or exported from makes of the state: pure functions from one state to the next."""

from __future__ import annotations

from dataclasses import replace

from workbench import charts
from workbench.frames.frame import EXACT
from workbench.manifest import Manifest
from workbench.published import Published
from workbench.study import Study
from workbench.variant import Variant
from workbench_widgets import rows
from workbench_widgets.store import Message, State

#: The figures that every study has, whatever its answers are judged by.
EVERYWHERE = (*EXACT, "latency_ms", "speedup")


def emptied(state: State) -> State:
    """Without anything that belongs to the study shown before."""
    return replace(
        state,
        study=None,
        plan=None,
        planned=None,
        frame=state.frame.iloc[:0],
        selected="",
        compared="",
        beside=(),
        published=None,
        layers=(),
        times=(),
        sensitivity=None,
    )


def back(state: State, before: State) -> State:
    """With what was shown before; nothing of the visitor's other choices since then is taken back."""
    kept = {name: getattr(before, name) for name in ("model", "study", "frame", "selected", "published")}
    same = before.recipe == state.recipe
    return replace(state, **kept, plan=before.plan if same else None, planned=before.planned if same else None)


def showing(state: State, study: Study, elsewhere: Published | None, message: Message) -> State:
    """With a study, what was measured elsewhere, and one variant chosen to tell of it."""
    frame = study.frame()
    selected = str(frame["id"].iloc[-1]) if len(frame) else ""
    if not selected and elsewhere is not None:
        selected = telling(elsewhere.variants).id
    shown = replace(state, study=study, published=elsewhere, frame=frame, selected=selected, message=message)
    return _with_axes(shown, study.metric_name)


def _with_axes(state: State, measure: str) -> State:
    """With axes that this study has figures for; before the first, what it will be judged by stands upwards."""
    frame = rows.everything(state)
    known = {*charts.drawable(frame)} if len(frame) else {*EVERYWHERE, measure}
    y = state.y if state.y in known else measure
    x = state.x if state.x in known else State.x
    return replace(state, x=x, y=y, size=state.size if state.size in known else "params")


def labelled(state: State, study: Study) -> State:
    """With other names, tags or texts on a study's variants, or one of them gone."""
    if state.study is not study:
        return state
    frame = study.frame()
    there = tuple(one for one in state.beside if state.variant(one))
    compared = state.compared if state.variant(state.compared) else ""
    now = replace(state, frame=frame, compared=compared, beside=there)
    if state.variant(state.selected) is None:
        return replace(now, selected=str(frame["id"].iloc[-1]) if len(frame) else "", message=Message("It is deleted."))
    return now


def telling(variants: tuple[Variant, ...]) -> Variant:
    """The fastest of those that are not known to be less accurate than the first one, the original.

    Where nothing was compared on the same inputs, the fastest whose accuracy is within the original's interval. What is
    shipped as measured elsewhere are classifications.
    """
    original = variants[0]["accuracy"]
    paired = ((one, one.estimates.get("accuracy_change")) for one in variants)
    as_good = [one for one, change in paired if (change.high >= 0 if change else one["accuracy"].value >= original.low)]
    return max(as_good, key=lambda one: one["speedup"].value)


def exported(state: State, variant: Variant, manifest: Manifest) -> State:
    """With the latest export of a variant."""
    others = tuple(pair for pair in state.exported if pair[0] != variant.id)
    message = Message(f"{variant.name} is exported: what was written was read back and gives the same results.")
    return replace(state, exported=(*others, (variant.id, manifest)), message=message)
