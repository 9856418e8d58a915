"""Charts of a diagnosis: the error of every layer, and the images whose answer changed."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from workbench.errors import BadValue, unknown
from workbench.interface.arguments import check_kinds

#: Errors are coloured between these, in dB: at the first little is left of a layer, at the last nothing is lost.
_WORST_DB, _BEST_DB = 0.0, 50.0
_CHOSEN = "#d55e00"
_STRIPS = {"sqnr_db": "With the errors before it", "own_sqnr_db": "Its own error"}


@check_kinds
def layer_errors(frame: pd.DataFrame) -> alt.LayerChart:
    """A strip of cells, one a layer in execution order, from `Diagnosis.layers`: signal over error in dB.

    The upper row holds the errors of the layers before, the lower one each layer's own; dark cells are bad,
    empty ones cannot be compared. The parameter `selected` holds the names of the layers to stand out, with blanks
    between them. Raises: `UnknownName` for a frame that has rows but lacks a column.
    """
    for name in ("layer", *_STRIPS):
        if len(frame) and name not in frame:
            raise unknown("column", name, frame.columns)
    rows = pd.concat([_strip(frame, name, title) for name, title in _STRIPS.items()], ignore_index=True)
    room = "bandwidth('x') < 18"  # too narrow a cell for a name or a number: the tooltip and the table have them
    names = alt.Axis(labelAngle=-45, labelLimit=180, labelExpr=f"{room} ? '' : datum.label")
    across = alt.X("layer:N", sort=None, title="Layer", axis=names)
    up = alt.Y("which:N", sort=list(_STRIPS.values()), title=None)
    base = alt.Chart(_data(rows)).transform_filter("isValid(datum.shown)")
    colour = alt.Color(
        "shown:Q",
        title="SQNR (dB)",
        scale=alt.Scale(scheme="cividis", domain=[_WORST_DB, _BEST_DB], clamp=True),
        legend=alt.Legend(orient="top"),
    )
    tooltip = [
        alt.Tooltip("layer:N", title="Layer"),
        alt.Tooltip("operator:N", title="Became"),
        alt.Tooltip("text:N", title="SQNR (dB)"),
        alt.Tooltip("cosine:Q", title="Cosine", format=".4f"),
        alt.Tooltip("clipped:Q", title="Clipped", format=".2%"),
    ]
    ink = alt.condition(f"datum.shown > {(_WORST_DB + _BEST_DB) / 2}", alt.value("black"), alt.value("white"))
    cells = base.mark_rect(cursor="pointer").encode(x=across, y=up, color=colour, tooltip=tooltip)
    text = base.mark_text(fontSize=10, cursor="pointer", opacity=alt.ExprRef(f"{room} ? 0 : 1"))
    numbers = text.encode(x=across, y=up, text="text:N", color=ink)
    chosen = base.transform_filter("indexof(split(selected, ' '), datum.layer) >= 0")
    frames = chosen.mark_rect(filled=False, stroke=_CHOSEN, strokeWidth=3).encode(x=across, y=up)
    chart = alt.LayerChart(layer=[cells, numbers, frames], width="container", height=90)
    return chart.add_params(alt.param(name="selected", value=""))


@check_kinds
def flips(images: np.ndarray[Any, Any], rows: pd.DataFrame, columns: int = 8) -> alt.LayerChart:
    """Pictures of images whose answer changed, with what they were taken for, from `Diagnosis.images()`.

    `images` (n, C, H, W) with one or three channels, scaled each to its own range; `rows` their rows of
    `Diagnosis.flips`. Raises: `BadValue` where the two do not fit.
    """
    if images.ndim != 4 or images.shape[1] not in {1, 3} or len(images) != len(rows):
        raise BadValue(
            f"Images of shape {images.shape} with {len(rows)} rows: give (n, 1 or 3, H, W) with one row an image."
        )
    table = rows.reset_index(drop=True).assign(
        column=[i % columns for i in range(len(rows))],
        row=[i // columns for i in range(len(rows))],
        picture=[png(image) for image in images],
    )
    table["words"] = [f"{before} → {after}" for before, after in zip(rows["before"], rows["after"], strict=True)]
    x, y = alt.X("column:O", axis=None), alt.Y("row:O", axis=None)
    base = alt.Chart(_data(table)).encode(x=x, y=y)
    tooltip = [alt.Tooltip(f"{name}:N") for name in ("index", "label", "before", "after", "change")]
    pictures = base.mark_image(width=56, height=56, dy=-8).encode(url="picture:N", tooltip=tooltip)
    words = base.mark_text(dy=30, fontSize=9, limit=92).encode(text="words:N", tooltip=tooltip)
    return alt.LayerChart(layer=[pictures, words], width=alt.Step(96), height=alt.Step(84))


def _strip(frame: pd.DataFrame, name: str, title: str) -> pd.DataFrame:
    value = pd.to_numeric(frame[name], errors="coerce").astype(float) if len(frame) else pd.Series(dtype=float)
    rows = frame[[one for one in ("layer", "operator", "cosine", "clipped") if one in frame]].copy()
    rows["which"] = title
    rows["id"] = rows.get("layer")
    rows["shown"] = value.clip(_WORST_DB, _BEST_DB)  # an exact layer is infinitely good, which no scale can show
    rows["text"] = ["∞" if np.isposinf(one) else "" if np.isnan(one) else f"{one:.0f}" for one in value]
    return rows


@check_kinds
def png(image: np.ndarray[Any, Any], most: int | None = None) -> str:
    """An image (1 or 3, H, W) as a data address, scaled to its own range (PNG, RFC 2083).

    With more than `most` pixels on a side, squares of pixels are averaged until it fits.
    """
    image = _smaller(image, most) if most else image
    low, high = float(image.min()), float(image.max())
    pixels = ((image - low) * (255 / (high - low or 1.0))).round().astype(np.uint8).transpose(1, 2, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", image.shape[2], image.shape[1], 8, 0 if image.shape[0] == 1 else 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def _smaller(image: np.ndarray[Any, Any], most: int) -> np.ndarray[Any, Any]:
    side = -(-max(image.shape[1:]) // most)
    channels, height, width = image.shape[0], image.shape[1] // side, image.shape[2] // side
    if side == 1 or not height or not width:
        return image
    squares = image[:, : height * side, : width * side].reshape(channels, height, side, width, side)
    means: np.ndarray[Any, Any] = squares.mean(axis=(2, 4))
    return means


def _data(rows: pd.DataFrame) -> alt.InlineData:
    records: list[dict[str, Any]] = json.loads(rows.to_json(orient="records"))  # plain numbers, None for NaN
    return alt.InlineData(values=records)
