"""A step that ends the process which carries it out, unless that is the one that is spared; and a metric to send."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from workbench.step import REGISTRY, Context, setting
from workbench.steps.prune import Prune

SPARED, DEATHS = "DEADLY_SPARES", "DEADLY_DEATHS"


@dataclass(frozen=True)
class Deadly(Prune, abstract=True):
    """Prunes; the first `times` processes that do so die of it."""

    times: int = setting(0, "integer", "How many processes die.", low=0, high=100)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        deaths = Path(os.environ[DEATHS])
        died = len(deaths.read_text()) if deaths.exists() else 0
        if str(os.getpid()) != os.environ[SPARED] and died < self.times:
            deaths.write_text("x" * (died + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().apply(module, context)


if "pytest" not in sys.modules:  # a worker: where tests run, the registry is left as it is
    REGISTRY["Deadly"] = Deadly


def right(outputs: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether the largest score is that of the label."""
    found: npt.NDArray[np.bool_] = outputs.argmax(1) == labels
    return found
