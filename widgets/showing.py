"""What a study that is shown, left or exported from makes of the state: pure functions from one state to the next."""

from __future__ import annotations

from dataclasses import replace

from workbench.export import Manifest
from workbench.published import Published
from workbench.study import Study
from workbench.variant import Variant
from workbench_widgets.store import Message, State


def emptied(state: State) -> State:
    """Without anything that belongs to the study shown before."""
    return replace(
        state,
        study=None,
        forecast=None,
        frame=state.frame.iloc[:0],
        selected="",
        compared="",
        published=None,
        layers=(),
        times=(),
        sensitivity=None,
    )


def showing(state: State, study: Study, elsewhere: Published | None, message: Message) -> State:
    """With a study, what was measured elsewhere, and one variant chosen to tell of it."""
    frame = study.frame()
    selected = str(frame["id"].iloc[-1]) if len(frame) else ""
    if not selected and elsewhere is not None:
        selected = telling(elsewhere.variants).id
    shown = replace(state, study=study, published=elsewhere, frame=frame, selected=selected, message=message)
    return replace(shown, y=study.measure) if shown.y not in frame and elsewhere is None else shown


def telling(variants: tuple[Variant, ...]) -> Variant:
    """The fastest of those that are not known to be less accurate than the first one, the original.

    Where nothing was compared on the same inputs, the fastest whose accuracy is within the original's interval.
    """
    original = variants[0]["accuracy"]
    paired = ((one, one.estimates.get("accuracy_change")) for one in variants)
    as_good = [
        one for one, change in paired if (change.high >= 0 if change else one["accuracy"].value >= original.low)
    ]
    return max(as_good, key=lambda one: one["speedup"].value)


def exported(state: State, variant: Variant, manifest: Manifest) -> State:
    """With the latest export of a variant."""
    others = tuple(pair for pair in state.exported if pair[0] != variant.id)
    message = Message(f"{variant.name} is exported: what was written was read back and gives the same results.")
    return replace(state, exported=(*others, (variant.id, manifest)), message=message)
