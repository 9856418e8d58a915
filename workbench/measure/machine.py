"""What a measurement was taken on."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Instruction sets that decide how fast int8, float16 and bfloat16 run.
_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "asimddp", "i8mm")


@dataclass(frozen=True)
class Machine:
    """Processor, system and versions; latencies compare only between equal machines."""

    processor: str
    cpus: int
    features: tuple[str, ...]
    system: str
    python: str
    onnxruntime: str

    @property
    def fingerprint(self) -> str:
        """A short digest; equal for equal machines."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()[:12]

    @property
    def named(self) -> str:
        """As a variant remembers what it was measured on."""
        return f"{self.processor} ({self.fingerprint})"

    def __str__(self) -> str:
        return f"{self.processor}, {self.cpus} CPUs ({', '.join(self.features) or 'no vector extensions known'})"


@cache
def machine() -> Machine:
    """The machine that this process runs on."""
    cpuinfo = _cpuinfo()
    flags = set(cpuinfo.get("flags", cpuinfo.get("Features", "")).split())
    return Machine(
        processor=cpuinfo.get("model name") or platform.processor() or platform.machine(),
        cpus=os.cpu_count() or 1,
        features=tuple(name for name in _TELLING if name in flags),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        onnxruntime=_version("onnxruntime"),
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; {} where there is none."""
    found: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return found
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
