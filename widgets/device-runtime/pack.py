"""Packs ONNX Runtime's WebAssembly build into `workbench/devices/runtime`: `make device-runtime` runs this.

Its version is pinned in `package.json`, its content by the digests of `package-lock.json`. The program is kept as xz,
a third smaller than gzip; the server of devices makes gzip of it, which every browser takes over plain HTTP.
"""

from __future__ import annotations

import json
import lzma
import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
TARGET = HERE.parents[1] / "workbench" / "devices" / "runtime"
#: The processor alone; and the build with WebGPU that suspends WebAssembly as browsers do themselves (JSPI), which is
#: two thirds of the one that does so by its own means.
BUILDS = {"ort.wasm.min.mjs": "ort-wasm-simd-threaded", "ort.jspi.min.mjs": "ort-wasm-simd-threaded.jspi"}
#: No BCJ filter knows WebAssembly; its code has no alignment, so that no position bits help either.
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]
RULE = f"\n{'-' * 80}\n\n"


def described(package: str) -> dict[str, Any]:
    """What npm says of an installed package."""
    found: dict[str, Any] = json.loads((MODULES / package / "package.json").read_text(encoding="utf-8"))
    return found


def notices() -> str:
    """The licences of what is inside: ONNX Runtime's own, of what is linked into it, and of its JavaScript."""
    found = []
    for folder in (MODULES / name for name in sorted(described("onnxruntime-web")["dependencies"])):
        about = described(folder.name)
        texts = sorted(path for path in folder.iterdir() if path.name.lower().startswith("licen"))
        said = texts[0].read_text(encoding="utf-8").strip() if texts else "Its package holds no text of the licence."
        found.append(f"{about['name']} {about['version']} ({about['license']})\n\n{said}\n")
    python = Path(str(distribution("onnxruntime").locate_file("onnxruntime")))
    own, linked = ((python / name).read_text(encoding="utf-8").strip() for name in ("LICENSE", "ThirdPartyNotices.txt"))
    version = described("onnxruntime-web")["version"]
    head = f"The files beside this one are of onnxruntime-web {version} (MIT), which contains what follows.\n"
    return RULE.join([head, f"ONNX Runtime\n\n{own}\n", *found, f"Linked into ONNX Runtime\n\n{linked}\n"])


def main() -> None:
    """Write the files."""
    TARGET.mkdir(parents=True, exist_ok=True)
    source = MODULES / "onnxruntime-web" / "dist"
    for script, program in BUILDS.items():
        for name in (script, f"{program}.mjs"):
            shutil.copyfile(source / name, TARGET / name)
        packed = lzma.compress((source / f"{program}.wasm").read_bytes(), check=lzma.CHECK_CRC32, filters=FILTERS)
        (TARGET / f"{program}.wasm.xz").write_bytes(packed)
    (TARGET / "THIRD-PARTY.txt").write_text(notices(), encoding="utf-8")
    print(*(f"{path.name}: {path.stat().st_size:,} bytes" for path in sorted(TARGET.iterdir())), sep="\n")


if __name__ == "__main__":
    main()
