"""What runs an artefact. A runtime is one file here that registers itself; nothing else knows it by name."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from workbench.errors import BadFile, BadValue, WorkbenchError

Array = npt.NDArray[Any]
T = TypeVar("T")

#: Every runtime by the name that users select it by, whether it is installed or not.
REGISTRY: dict[str, Runtime] = {}


@dataclass(frozen=True)
class Entry:
    """One input of an artefact: its name, its shape without the batch, and the type of its numbers."""

    name: str
    shape: tuple[int, ...]
    kind: npt.DTypeLike = np.float32


class Session(ABC):
    """A loaded artefact."""

    #: What it takes, in order.
    entries: tuple[Entry, ...]

    @abstractmethod
    def outputs(self, inputs: Any) -> list[Array]:
        """Every output (N, ...), in order, of inputs (N, ...): an array, or several in a tuple or by their names."""

    def run(self, inputs: Any) -> Array:
        """The output that stands for all: the first of floating-point numbers, such as logits, or else the first."""
        found = self.outputs(inputs)
        return next((one for one in found if np.issubdtype(one.dtype, np.floating)), found[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch; of the first where it takes several."""
        return self.entries[0].shape

    def given(self, inputs: Any) -> list[Array]:
        """Inputs in the order and of the types that it takes, contiguous. Raises: `BadValue` for other ones."""
        entries = self.entries
        many = inputs if isinstance(inputs, (tuple, list, Mapping)) else (inputs,)
        if len(many) != len(entries) or (isinstance(many, Mapping) and any(one.name not in many for one in entries)):
            names = ", ".join(one.name for one in entries)
            raise BadValue(f"The artefact takes {len(entries)} inputs ({names}), and it is given {len(many)}.")
        ordered = [many[one.name] for one in entries] if isinstance(many, Mapping) else list(many)
        return [np.ascontiguousarray(value, one.kind) for value, one in zip(ordered, entries, strict=True)]


def noise(session: Session, batch: int, seed: int) -> tuple[Array, ...]:
    """Inputs (batch, ...) of a session: standard normal numbers, or zeros, which are a row of any table."""
    random = np.random.default_rng(seed)
    return tuple(
        random.standard_normal((batch, *one.shape)).astype(np.float32)
        if np.issubdtype(one.kind, np.floating)
        else np.zeros((batch, *one.shape), np.int64)
        for one in session.entries
    )


class Runtime(ABC):
    """Something that runs an artefact, such as ONNX Runtime.

    `source` is the kind of file that it starts from: ".onnx", the artefact of a variant, or ".pt2", the
    rewritten torch network as `torch.export` writes it, which does not hold steps such as `Quantize`.
    """

    name: str
    title: str
    source: ClassVar[str] = ".onnx"
    packages: ClassVar[tuple[str, ...]] = ()  # what must be importable
    extra: ClassVar[str] = ""  # the extra of this distribution that installs them

    def available(self) -> bool:
        """True when everything that the runtime needs is installed."""
        return all(importlib.util.find_spec(package) is not None for package in self.packages)

    def convert(self, source: Path, folder: Path) -> Path:
        """The file that `load` takes, made in `folder`; the source itself where no conversion is needed.

        Raises: `BadFile` when the runtime refuses the source.
        """
        return self._guarded(source, lambda: self._convert(source, folder))

    def load(self, path: Path, threads: int = 1) -> Session:
        """Make a file ready to run. Raises: `BadFile` when it is missing or the runtime refuses it."""
        return self._guarded(Path(path), lambda: self._load(Path(path), threads))

    def _convert(self, source: Path, folder: Path) -> Path:
        return source

    @abstractmethod
    def _load(self, path: Path, threads: int) -> Session:
        """As `load`; may raise anything."""

    def _guarded(self, path: Path, work: Callable[[], T]) -> T:
        if not path.is_file():
            raise BadFile(f"There is no artefact at {str(path)!r}. Run the recipe again to make it.")
        try:
            return work()
        except WorkbenchError:
            raise
        except Exception as error:
            raise BadFile(
                f"{self.title} refuses the artefact {path.name!r} because {self.reason(error)} "
                "Check that the file is complete and that its operators are supported."
            ) from error

    def reason(self, error: Exception) -> str:
        """What the runtime said: its first line, as a sentence."""
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return line if line.endswith(".") else f"{line}."


def register(runtime: Runtime) -> Runtime:
    """Add a runtime to `REGISTRY`.

    One of your own is timed as well where its class is in a module that another process can import, and which
    registers it there: latency is taken in a process apart.
    """
    REGISTRY[runtime.name] = runtime
    return runtime


def home(name: str) -> str:
    """The module that another process imports to know a runtime; "" for those that are known anywhere."""
    module = type(REGISTRY[name]).__module__ if name in REGISTRY else ""
    return "" if module.startswith(f"{__package__}.") else module
