"""What the panel of the chosen variant shows: figures, warnings, another variant beside it, its export."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from workbench.charts import column, lower
from workbench.export import formats
from workbench.frames.pareto import more_is_better
from workbench.manifest import Manifest
from workbench.measure.evaluation import CHANGE
from workbench.report.words import UNPAIRED, difference, verdict
from workbench.tasks import METRICS
from workbench.tasks.unlabelled import APART
from workbench.variant import Variant
from workbench_widgets import rows
from workbench_widgets.comparing import comparison
from workbench_widgets.exporting import files
from workbench_widgets.formatting import COSTS, change, trend
from workbench_widgets.seam.cells import Label
from workbench_widgets.seam.variant_view import Exported, Figure, OtherVariant, VariantView
from workbench_widgets.store import State

FACTS = (
    "kl_divergence", "logit_error", "latency_ms", "speedup", "predicted_speedup", "macs", "params",
    "memory_access_bytes", "file_bytes", "compressed_bytes", "energy_uj",
)  # fmt: skip
ELSEWHERE = "Measured elsewhere: its file is not here. Measure it on this machine to export it."

NOTHING = VariantView(
    id="", name="", empty="Choose a variant in the table or the chart to see and export it.", tag="", verdict="",
    reason="", figures=[], notes=[], label=None, others=[], compared="", comparison=None, formats=[], missing="",
    exporting=False, exported=None,
)  # fmt: skip


def variant(state: State) -> VariantView:
    """The chosen variant: its figures against the original's, its warnings, its export."""
    chosen, original = state.variant(state.selected), state.original()
    if chosen is None or state.study is None:
        return NOTHING
    is_original = original is None or chosen.id == original.id
    manifest = dict(state.exported).get(chosen.id)
    here = any(one.id == chosen.id for one in state.study.variants)
    return {
        "id": chosen.id,
        "empty": "",
        "name": chosen.name.capitalize() if is_original else chosen.name,
        "tag": "" if here else "measured elsewhere",
        "verdict": "" if original is None or is_original else verdict(chosen, original),
        "reason": chosen.verdict,
        "figures": [_fact(name, chosen, original, state.frame) for name in _facts(state) if name in chosen.estimates],
        "notes": list(chosen.notes),
        "label": label_of(chosen, alone=len(state.study.variants) == 1) if here else None,
        "others": _others(state),
        "compared": state.compared,
        "comparison": comparison(state, chosen),
        "formats": formats() if here else [],
        "missing": "" if here else ELSEWHERE,
        "exporting": state.exporting == chosen.id,
        "exported": None if manifest is None else _export(manifest),
    }


def label_of(chosen: Variant, *, alone: bool) -> Label:
    """What a user can say of a variant, and has said; the original can be deleted where it is the only one."""
    given = chosen.names.label(chosen.id)
    return {
        "name": given.name,
        "usual": chosen.recipe.name,
        "tags": list(given.tags),
        "text": given.text,
        "archived": given.archived,
        "archivable": bool(chosen.recipe.steps),
        "deletable": bool(chosen.recipe.steps) or alone,
    }


def _facts(state: State) -> tuple[str, ...]:
    return (*rows.judged_by(state), *FACTS)


def _fact(name: str, chosen: Variant, original: Variant | None, frame: pd.DataFrame) -> Figure:
    estimate, shown = chosen[name], column(name)
    exact = estimate.low == estimate.high
    fact: Figure = {
        "label": shown.label,
        "text": shown.text(estimate.value),
        "interval": "" if exact else f"{shown.number(estimate.low)} to {shown.number(estimate.high)}",
        "change": "",
        "trend": "",
    }
    # Milliseconds of two separate runs do not compare: the speed-up, measured in turns, is their comparison.
    apart = name in {"latency_ms", "speedup", "predicted_speedup", *APART}
    if original is None or original.id == chosen.id or apart or name not in original.estimates:
        return fact
    said, way = _change(name, chosen, original, more_is_better(frame, name))
    return fact | {"change": said, "trend": way}


def _change(name: str, chosen: Variant, original: Variant, rising: bool) -> tuple[str, str]:
    """How a figure changed, and whether that is better, worse or neither; better if `rising` when it grows."""
    paired = chosen.estimates.get(f"{name}{CHANGE}")
    if paired is not None:
        return difference(name, paired), trend(paired, rising)
    said, way = change(name, original[name], chosen[name])
    return said if name in COSTS else f"{said}, {UNPAIRED}", way


def _others(state: State) -> list[OtherVariant]:
    frame = rows.everything(state)
    if frame.empty:
        return []
    pairs = zip(frame["id"], frame["name"], strict=True)
    return [{"id": key, "name": name} for key, name in pairs if key != state.selected]


def _export(manifest: Manifest) -> Exported:
    return {
        "key": manifest.created,
        "sentence": _verified(manifest.verified) if manifest.proven else f"Not verified: {manifest.notes[-1]}",
        "folder": str(manifest.path),
        "files": [{"name": name, "bytes": size, "size": _size(size)} for name, size in files(manifest).items()],
    }


def _verified(checked: Mapping[str, float]) -> str:
    """What reading the file back has shown; data without labels have nothing but the outputs."""
    if "accuracy" in checked:
        return f"Verified: the file was read back and gets {checked['accuracy']:.2%} of the test images right."
    for name in checked.keys() & METRICS.keys():
        shown = column(name)
        return f"Verified: the file was read back, and its {lower(shown.label)} is {shown.text(checked[name])} again."
    apart = checked["largest_relative_difference"]
    return f"Verified: the file was read back, and its outputs are the measured ones (difference at most {apart:.0e})."


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
