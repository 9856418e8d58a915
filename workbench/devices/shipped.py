"""The files that a device's page is made of: its own, and ONNX Runtime's WebAssembly build."""

from __future__ import annotations

import gzip
import lzma
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
#: The files by the name in an address, and their types.
TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "worker.js": "text/javascript; charset=utf-8",
    "clock.js": "text/javascript; charset=utf-8",
    "ort.wasm.min.mjs": "text/javascript; charset=utf-8",
    "ort.jspi.min.mjs": "text/javascript; charset=utf-8",
    "ort-wasm-simd-threaded.mjs": "text/javascript; charset=utf-8",
    "ort-wasm-simd-threaded.jspi.mjs": "text/javascript; charset=utf-8",
    "ort-wasm-simd-threaded.wasm": "application/wasm",
    "ort-wasm-simd-threaded.jspi.wasm": "application/wasm",
}
#: How much time is spent on a byte: more gains little, and somebody waits.
_LEVEL = 6


@cache
def zipped(name: str) -> bytes:
    """A file as gzip; the program is kept as xz, which is smaller by a third but read by no browser."""
    return gzip.compress(plain(name), _LEVEL, mtime=0)


def plain(name: str) -> bytes:
    """A file as it is."""
    for folder in ("page", "runtime"):
        path = _HERE / folder / name
        if path.is_file():
            return path.read_bytes()
    return lzma.decompress((_HERE / "runtime" / f"{name}.xz").read_bytes())


@cache
def frame() -> str:
    """The page."""
    return (_HERE / "page" / "index.html").read_text(encoding="utf-8")


@cache
def refusing() -> str:
    """The page of a refusal, with SENTENCE in its place."""
    return (_HERE / "page" / "refused.html").read_text(encoding="utf-8")
