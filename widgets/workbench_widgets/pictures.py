"""Pictures of the images whose answer changed: what each is, what it was taken for, what it became, and how surely."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.charts import png
from workbench.diagnosis import Comparison, Diagnosis
from workbench_widgets.seam.comparison_view import Picture, PictureKind, PicturesView

#: (change, what the button says, what it means)
KINDS = (
    ("lost", "Lost", "right before, wrong now"),
    ("gained", "Gained", "wrong before, right now"),
    ("other", "Other", "wrong before, wrong otherwise now"),
)
MOST = 24  # pictures of a kind
PIXELS = 64  # of a picture's longer side


def pictures(found: Diagnosis | Comparison) -> PicturesView | None:
    """The pictures of each kind of change, the surest of the first answers first; None where images are no pictures."""
    inputs = found.images(1)[0]
    if not len(found.flips) or not isinstance(inputs, np.ndarray) or inputs.ndim != 4 or inputs.shape[1] not in {1, 3}:
        return None
    kinds = [_kind(found, *one) for one in KINDS]
    return {"kinds": [one for one in kinds if one["total"]]}


def _kind(found: Diagnosis | Comparison, change: str, label: str, meaning: str) -> PictureKind:
    total = int((found.flips["change"] == change).sum())
    images, rows = found.images(MOST, change)
    return {
        "value": change,
        "label": f"{label} ({total})",
        "meaning": meaning,
        "total": total,
        "note": "" if total <= MOST else f"The {MOST} of {total} of which the first answer was surest.",
        "pictures": [_picture(image, row) for image, row in zip(images, rows.to_dict("records"), strict=True)],
    }


def _picture(image: Any, row: dict[Any, Any]) -> Picture:
    before, after = (f"{100 * row[f'confidence_{when}']:.0f} %" for when in ("before", "after"))
    taken = f"taken for {row['before']} ({before}), now for {row['after']} ({after})"
    return {
        "url": png(image, PIXELS),
        "label": str(row["label"]),
        "before": str(row["before"]),
        "after": str(row["after"]),
        "sure": f"{before} sure → {after}",
        "alt": f"Image {row['index']}, {row['label']}: {taken}",
    }
