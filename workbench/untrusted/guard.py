"""What parsers of other libraries raise becomes a sentence."""

from __future__ import annotations

from types import TracebackType

from workbench.errors import BadFile, WorkbenchError


class Guard:
    """Whatever the block raises becomes a `BadFile` that says `what` is so and why; errors of ours pass.

    zipfile, zlib, numpy, PyYAML, json and safetensors together raise some twenty types for damaged bytes, none of
    which they promise. Limits are for the code in the block to hold: this is about what is said.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        self.what, self.advice = what, advice

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, WorkbenchError):
            raise BadFile(f"{self.what}: {_reason(error)}. {self.advice}".rstrip()) from error


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = str(error).strip().rstrip(".")[:300]
    return f"{said} ({type(error).__name__})" if said else type(error).__name__
