"""How each column of a frame is shown: its name, its unit, its digits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pandas.api.types import is_numeric_dtype

from workbench.errors import unknown
from workbench.frames.limits import about
from workbench.interface.arguments import check_kinds
from workbench.tasks import METRICS, Metric

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """How a column of `Study.frame()` is shown: its name, its unit, and how many digits it deserves."""

    label: str
    unit: str = ""
    scale: float = 1.0  # what one unit on the axis is in the frame's own unit
    format: str = ",.2f"  # a format that Python and d3 understand alike

    @property
    def title(self) -> str:
        """The title of an axis, such as `MACs (M)`."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def number(self, value: float) -> str:
        """The value in this column's unit, without it: `80.52`, and the minus as a reader expects it."""
        return format(value / self.scale, self.format).replace("-", "−")

    def text(self, value: float) -> str:
        """The value with its unit: `80.52 M`."""
        unit = self.unit.split(",")[0]
        return f"{self.number(value)}{'' if unit in {'', '×'} else ' '}{unit}"


def _judged(metric: Metric) -> Column:
    """How a task's figure is shown."""
    if metric.share:
        return Column(metric.label, "%", 0.01)
    return Column(metric.label, metric.unit, format=",.4g")


#: The columns of a frame that a chart can show, in the order of a menu.
COLUMNS: dict[str, Column] = {
    "accuracy": Column("Accuracy", "%", 0.01),
    "accuracy_change": Column("Change of accuracy", "points", 0.01, "+,.2f"),
    "validation_accuracy": Column("Validation accuracy", "%", 0.01),
    "validation_accuracy_change": Column("Change of validation accuracy", "points", 0.01, "+,.2f"),
    **{name: _judged(metric) for name, metric in METRICS.items() if name != "accuracy"},
    "kl_divergence": Column("Divergence from the original", "nats", 1.0, ",.4f"),
    "latency_ms": Column("Latency", "ms, batch 1", 1.0, ",.3f"),
    "macs": Column("MACs", "M", 1e6),
    "params": Column("Parameters", "k", 1e3, ",.1f"),
    "memory_access_bytes": Column("Memory access", "MB", 1e6),
    "peak_activation_bytes": Column("Peak activations", "kB", 1e3, ",.1f"),
    "file_bytes": Column("File size", "MB", 1e6, ",.3f"),
    "compressed_bytes": Column("Compressed size", "MB", 1e6, ",.3f"),
    "huffman_bytes": Column("Bundle size", "MB", 1e6, ",.3f"),
    "run_memory_bytes": Column("Memory while running", "MB", 1e6),
    "speedup": Column("Measured speed-up", "×"),
    "predicted_speedup": Column("Predicted speed-up", "×"),
    "energy_uj": Column("Energy, estimated", "µJ", 1.0, ",.1f"),
}


@check_kinds
def column(name: str) -> Column:
    """How the column of this name is shown; a metric of the user's own is shown by its name."""
    if name in COLUMNS:
        return COLUMNS[name]
    if about(name) != name:  # of a device
        of = COLUMNS[about(name)]
        return replace(of, label=f"{'Latency' if of.unit != '×' else 'Speed-up'} on {name.partition(' on ')[2]}")
    if name.endswith("_change"):  # a paired difference from the original
        of = column(name.removesuffix("_change"))
        unit = "points" if of.unit == "%" else of.unit
        return replace(of, label=f"Change of {lower(of.label)}", unit=unit, format=f"+{of.format}")
    base = name.removeprefix("validation_")
    if base in COLUMNS:
        return replace(COLUMNS[base], label=f"Validation {lower(COLUMNS[base].label)}")
    return Column(name.replace("_", " ").capitalize(), format=",.4g")


@check_kinds
def drawable(frame: pd.DataFrame) -> list[str]:
    """The columns that hold a figure: those of `COLUMNS` first, then metrics of the user's own."""
    others = (str(name) for name in frame if name not in COLUMNS and f"{name}_low" in frame)
    return [name for name in (*COLUMNS, *others) if name in frame and _holds_figures(frame[name])]


@check_kinds
def judged_by(frame: pd.DataFrame) -> str:
    """The figure that the variants of a frame are judged by: as their study says, or the first that there is."""
    named = str(frame.attrs.get("judged_by", ""))
    known = (name for name in ("accuracy", *METRICS) if name in frame and _holds_figures(frame[name]))
    return named or next(known, "accuracy")


@check_kinds
def check_columns(frame: pd.DataFrame, *names: str) -> None:
    """Raise `UnknownName` for a name that is neither described nor a figure of the frame."""
    for name in names:
        if name not in COLUMNS and (name not in frame or (len(frame) and not is_numeric_dtype(frame[name]))):
            raise unknown("column", name, drawable(frame) or COLUMNS)


def _holds_figures(values: pd.Series[Any]) -> bool:
    return is_numeric_dtype(values) and bool(values.notna().any())


@check_kinds
def lower(label: str) -> str:
    """The label within a sentence; abbreviations such as `MACs` stay as they are."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label
