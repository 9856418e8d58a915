"""What runs an artefact. A runtime is one file here that registers itself; nothing else knows it by name."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from workbench.errors import BadFile, WorkbenchError

Array = npt.NDArray[Any]
T = TypeVar("T")

#: Every runtime by the name that users select it by, whether it is installed or not.
REGISTRY: dict[str, Runtime] = {}


class Session(Protocol):
    """A loaded artefact."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch."""
        ...

    @property
    def whole(self) -> bool:
        """Whether inputs are whole numbers, such as token ids; else they are float32."""
        ...

    def run(self, inputs: Array) -> Array:
        """The first output (N, ...) for inputs (N, ...)."""
        ...


def noise(session: Session, batch: int, seed: int) -> Array:
    """Inputs (batch, ...) of a session: standard normal numbers, or zeros, which are a row of any table."""
    shape = (batch, *session.shape)
    if session.whole:
        return np.zeros(shape, np.int64)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


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
