"""A frame's rows as a chart's specification holds them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from workbench.interface.arguments import check_kinds

if TYPE_CHECKING:
    import pandas as pd


@check_kinds
def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Plain numbers, None for what is missing."""
    found: list[dict[str, Any]] = json.loads(rows.to_json(orient="records"))
    return found
