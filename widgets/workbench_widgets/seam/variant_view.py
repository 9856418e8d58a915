"""What the panel of the chosen variant shows: figures, the files of its export, what the user says of it."""

from __future__ import annotations

from typing import TypedDict

from workbench_widgets.seam.cells import Label
from workbench_widgets.seam.comparison_view import ComparisonView


class Figure(TypedDict):
    """A figure with its interval, and its change against the original."""

    label: str
    text: str
    interval: str
    change: str
    trend: str


class OtherVariant(TypedDict):
    """A variant that this one can be compared with."""

    id: str
    name: str


class ExportedFile(TypedDict):
    """A file to download, its size in bytes and in words."""

    name: str
    bytes: int
    size: str


class Exported(TypedDict):
    """The latest export; `key` is another one for each."""

    key: str
    sentence: str
    folder: str
    files: list[ExportedFile]


class VariantView(TypedDict):
    """The chosen variant; `id` is "" where none is."""

    id: str
    name: str
    empty: str
    tag: str
    verdict: str
    reason: str
    figures: list[Figure]
    notes: list[str]
    label: Label | None
    others: list[OtherVariant]
    compared: str
    comparison: ComparisonView | None
    formats: list[str]
    missing: str
    exporting: bool
    exported: Exported | None
