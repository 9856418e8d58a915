"""`Study.frame()`: one row a variant, the unit in each column's name."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pandas.api.types import is_numeric_dtype

from workbench.errors import BadValue, unknown
from workbench.frames.limits import read_limits

if TYPE_CHECKING:
    import pandas as pd

    from workbench.variant import Finished

#: Measured columns, each with `_low` and `_high` beside it: the ends of its 95 % interval.
MEASURED = (
    "accuracy", "accuracy_change", "validation_accuracy", "validation_accuracy_change", "latency_ms", "speedup",
)  # fmt: skip
#: Counted or computed columns.
EXACT = (
    "macs", "params", "memory_access_bytes", "peak_activation_bytes", "file_bytes", "compressed_bytes", "huffman_bytes",
    "predicted_speedup", "energy_uj", "run_memory_bytes",
)  # fmt: skip
COLUMNS = (
    "id", "name", "recipe", "is_baseline",
    *(f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high")),
    *EXACT, "verdict", "machine", "latency_note", "notes", "created", "tags", "annotation", "archived",
)  # fmt: skip

#: Said of milliseconds that were measured on another machine than the original's.
CONVERTED = "converted: the original's milliseconds on its machine over this variant's speed-up on another"


def to_frame(variants: Sequence[Finished]) -> pd.DataFrame:
    """The columns of `COLUMNS`, then those of other figures, such as a metric's; one that was not measured is NaN.

    Milliseconds of other machines than the original's are converted, see `on_one_machine`. `attrs["samples"]` holds
    what paired comparison needs: for each figure, by id, what `Sample.write` gives.
    """
    import pandas as pd

    known = {*MEASURED, *EXACT}
    figures = [name for variant in variants for name in (*variant.estimates, *variant.elsewhere)]
    more = list(dict.fromkeys(name for name in figures if name not in known))
    columns = [*COLUMNS, *(f"{name}{end}" for name in more for end in ("", "_low", "_high"))]
    frame = pd.DataFrame([_row(variant, (*MEASURED, *more)) for variant in variants], columns=columns)
    samples: dict[str, dict[str, str]] = {}
    for variant in variants:
        for name, text in variant.written.items():
            samples.setdefault(name, {})[variant.id] = text
    frame.attrs["samples"] = samples
    return on_one_machine(frame)


def on_one_machine(frame: pd.DataFrame) -> pd.DataFrame:
    """With the milliseconds of every row as on the original's machine.

    Those that were measured on another machine become the original's divided by the row's own speed-up, which was
    timed in turns there; `latency_note` says so. Without the original they stay missing.
    """
    if frame.empty:
        return frame
    original = frame[frame["is_baseline"].astype(bool)]
    home = original["machine"].iloc[0] if len(original) else frame["machine"].iloc[0]
    away = (frame["machine"] != home) & (frame["latency_note"] == "")
    if not away.any():
        return frame
    frame = frame.copy()
    ms = float(original["latency_ms"].iloc[0]) if len(original) else math.nan
    for end, other in (("", ""), ("_low", "_high"), ("_high", "_low")):  # faster is fewer milliseconds
        frame.loc[away, f"latency_ms{end}"] = ms / frame.loc[away, f"speedup{other}"]
    frame.loc[away, "latency_note"] = CONVERTED
    return frame


def where_rows(frame: pd.DataFrame, condition: str | None) -> pd.DataFrame:
    """The rows that meet every limit of a condition such as `"accuracy >= 0.92 and latency_ms < 2"`.

    Raises: `BadValue` when the condition cannot be read, `UnknownName` for a column that is not there.
    """
    for limit in read_limits(condition):
        if limit.column not in frame.columns:
            raise unknown("column", limit.column, frame.columns)
        if not is_numeric_dtype(frame[limit.column]):
            raise BadValue(f"The limit {str(limit)!r} compares {limit.column}, which is not a number.")
        frame = frame[limit.met(frame[limit.column])]
    return frame


def _row(variant: Finished, measured: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": variant.id,
        "name": variant.name,
        "recipe": json.dumps(variant.recipe.to_list(), sort_keys=True),
        "is_baseline": not variant.recipe.steps,
        "verdict": variant.verdict,
        "machine": variant.machine,
        "latency_note": "",
        "notes": " ".join(variant.notes),
        "created": variant.created,
        "tags": ", ".join(variant.tags),
        "annotation": variant.annotation,
        "archived": variant.archived,
    }
    figures = {**variant.estimates, **variant.elsewhere}
    for name in measured:
        if name in figures:
            estimate = figures[name]
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row | {name: variant.estimates[name].value for name in EXACT if name in variant.estimates}
