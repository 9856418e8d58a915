"""QR codes of addresses, where segno is installed; the address itself always stands beside them."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

#: What to say where no code can be drawn.
MISSING = "A QR code of it needs segno: pip install 'nn-workbench[devices]'."


def _code(address: str) -> Any:
    if importlib.util.find_spec("segno") is None:
        return None
    import segno

    return segno.make_qr(address, error="m")


def in_letters(address: str) -> str:
    """The code for a terminal, dark on light whatever its colours; "" without segno."""
    code, out = _code(address), io.StringIO()
    if code is None:
        return ""
    code.terminal(out=out, border=2, compact=True)
    return out.getvalue()


def as_svg(address: str, scale: int = 5) -> str:
    """The code as an SVG element on white; "" without segno."""
    code, out = _code(address), io.BytesIO()
    if code is None:
        return ""
    code.save(out, kind="svg", scale=scale, border=3, light="#fff", xmldecl=False, svgns=True, title=address)
    return out.getvalue().decode()
