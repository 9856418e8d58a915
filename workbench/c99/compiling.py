"""Compile the C of a network with the system's compiler, run it, and read how much flash and memory it takes."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import struct
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from workbench.errors import BadFile, shown
from workbench.runtimes.base import Array, Entry, Session

#: As the files are to be compiled anywhere.
STRICT = ("-std=c99", "-Wall", "-Werror")
SOURCES = ("network.c", "weights.c")
_LIMIT_S = 300
_SHAPE = re.compile(r"^#define NETWORK_(?:INPUT|OUTPUT)_SHAPE ([0-9, ]+)$", re.MULTILINE)


@cache
def compiler() -> str:
    """The system's C compiler: `$CC`, cc, gcc or clang; "" where there is none."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), "")


def compiled(folder: Path, target: Path, options: Sequence[str], sources: Sequence[str] = SOURCES) -> Path:
    """Compile files of a folder to `target`. Raises: `BadFile` with what the compiler says."""
    command = [compiler(), *STRICT, *options, *sources, "-o", str(target.resolve())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
        raise BadFile(f"{Path(compiler()).name} refuses the C of the network: {shown(said)}")
    return target


@dataclass(frozen=True)
class CompiledSession(Session):
    """A network as a shared library. Its arena is one: inputs run one after the other, threads wait."""

    function: Any
    entries: tuple[Entry, ...]
    answers: tuple[int, ...]  # the shape of an output, without the batch
    lock: Any

    def outputs(self, inputs: Any) -> list[Array]:
        """As `Session.outputs`."""
        (given,) = self.given(inputs)
        found = np.empty((len(given), *self.answers), np.float32)
        with self.lock:
            for one, answers in zip(given, found, strict=True):
                self.function(one.ctypes.data, answers.ctypes.data)
        return [found]


def library(folder: Path, target: Path, options: Sequence[str] = ("-O3",)) -> Path:
    """The network of a folder as a shared library, for the instructions of this machine. Raises: `BadFile`."""
    return compiled(folder, target, (*options, *_native(), "-shared", "-fPIC"))


def loaded(file: Path) -> Session:
    """A shared library with its `network.h` beside it, ready to run. Raises: `BadFile`."""
    header = file.with_name("network.h").read_text(encoding="ascii")
    shapes = [tuple(map(int, found.split(","))) for found in _SHAPE.findall(header)]
    try:
        function = ctypes.CDLL(str(file.resolve())).network_run
    except (OSError, AttributeError) as error:
        raise BadFile(f"The compiled network cannot be loaded: {error}") from error
    function.argtypes, function.restype = [ctypes.c_void_p] * 2, None
    return CompiledSession(function, (Entry("input", shapes[0]),), shapes[1], threading.Lock())


@cache
def _native() -> tuple[str, ...]:
    """The option for the instructions of this machine, where the compiler has it."""
    command = [compiler(), "-march=native", "-E", "-x", "c", os.devnull]
    done = subprocess.run(command, capture_output=True, check=False)
    return ("-march=native",) if done.returncode == 0 else ()


class Footprint(NamedTuple):
    """Bytes of a compiled network: code and weights, and memory."""

    flash: int
    ram: int


def footprint(folder: Path, place: Path) -> Footprint | None:
    """What the network takes, read from its objects, compiled for size in `place`; None where they are not ELF."""
    options = ("-Os", "-fno-pie", "-c")  # as for a board, where what is constant stays in flash
    found = [sections(compiled(folder, place / f"{name}.o", options, [name]).read_bytes()) for name in SOURCES]
    if None in found:
        return None
    kept = [one for one in found if one is not None]
    return Footprint(sum(one.flash for one in kept), sum(one.ram for one in kept))


#: Flags of a section of ELF: it is written to, it takes memory; and the type of one that a file does not hold.
_WRITTEN, _TAKES_MEMORY, _NOTES, _NO_BITS = 1, 2, 7, 8


def sections(content: bytes) -> Footprint | None:
    """The bytes of an ELF object's sections, by where they go; None for another format.

    What unwinding tables take is left out: microcontrollers are built without. Source: System V ABI, chapter 4.
    """
    if content[:4] != b"\x7fELF":
        return None
    wide, order = content[4] == 2, "<" if content[5] == 1 else ">"
    start, size, count, names = (
        *struct.unpack_from(f"{order}{'Q' if wide else 'I'}", content, 40 if wide else 32),
        *struct.unpack_from(f"{order}HHH", content, 58 if wide else 46),
    )
    layout = f"{order}IIQQQQ" if wide else f"{order}IIIIII"
    heads = [struct.unpack_from(layout, content, start + at * size) for at in range(count)]
    texts, flash, ram = heads[names][4], 0, 0
    for name, kind, flags, _, _, length in heads:
        called = content[texts + name :].split(b"\0", 1)[0]
        if not flags & _TAKES_MEMORY or kind == _NOTES or called.startswith(b".eh_frame"):
            continue
        ram += length if flags & _WRITTEN else 0
        flash += length if kind != _NO_BITS else 0
    return Footprint(flash, ram)
