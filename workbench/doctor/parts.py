"""What is installed, and for which feature something is missing: read from what the package itself declares."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

DISTRIBUTION = "nn-workbench"
#: What each extra is for.
FEATURES = {
    "lab": "JupyterLab, and charts as pictures",
    "zoo": "networks of torchvision and timm: wb.load('torchvision:resnet18')",
    "hf": "networks of the Hugging Face hub: wb.load('hf:owner/name')",
    "images": "folders of pictures: wb.data('folder/')",
    "tables": "tables of pictures: wb.data('train.parquet')",
    "detection": "boxes, judged as COCO does",
    "cluster": "searches on a Dask cluster: docs/scaling-out.md",
    "postgres": "a study that several machines share, in PostgreSQL",
    "devices": "QR codes, by which phones open the page that measures: `workbench device`",
    "mcp": "a study as tools for agents: `workbench mcp`",
    "openvino": "OpenVINO beside ONNX Runtime",
    "ncnn": "ncnn beside ONNX Runtime",
    "litert": "LiteRT beside ONNX Runtime",
    "executorch": "ExecuTorch beside ONNX Runtime",
}
#: Extras for those who work on the workbench itself.
OWN = frozenset({"docs", "peers", "test"})


@dataclass(frozen=True)
class Part:
    """A feature and the packages it needs, each with its version, "" where it is not there; `extra` "" is the base."""

    extra: str
    feature: str
    packages: tuple[tuple[str, str], ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that are not there."""
        return tuple(name for name, found in self.packages if not found)

    @property
    def remedy(self) -> str:
        """What to type to have it; "" where nothing is missing."""
        if not self.missing:
            return ""
        chosen = f"[{self.extra}]" if self.extra else ""
        return f"{python()} -m pip install '{DISTRIBUTION}{chosen}'"


def python() -> str:
    """How this Python is called from the shell: by its name where that leads to it, else by its path."""
    return "python" if shutil.which("python") == sys.executable else sys.executable


def parts() -> tuple[Part, ...]:
    """The base, then every extra that users may want.

    Raises: `PackageNotFoundError` where the distribution itself is not installed.
    """
    wanted: dict[str, dict[str, str]] = {"": {}, **{extra: {} for extra in FEATURES}}
    for line in requires(DISTRIBUTION) or ():
        name, extra = _read(line)
        if extra not in OWN:
            wanted.setdefault(extra, {})[name] = _version(name)
    return tuple(
        Part(extra, FEATURES.get(extra, extra) if extra else "everything else", tuple(sorted(packages.items())))
        for extra, packages in wanted.items()
    )


def compiler() -> str:
    """The C compiler of this machine, "" where there is none."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), "")


def _read(requirement: str) -> tuple[str, str]:
    """The package that a line of the metadata names, and the extra that wants it."""
    name, extra = re.match(r"[\w.-]+", requirement), re.search(r"""extra\s*==\s*["']([\w-]+)["']""", requirement)
    assert name is not None
    return name.group(), extra.group(1) if extra else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
