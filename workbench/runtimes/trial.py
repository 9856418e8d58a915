"""The process apart, in which ONNX files are loaded and run once: see `workbench.runtimes.apart`.

Run as `python -m workbench.runtimes.trial`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

import numpy as np

from workbench.runtimes.apart import readable
from workbench.runtimes.onnxruntime import feeds, open_session

#: Seconds without a request after which the process leaves.
_IDLE_S = 60.0


def main() -> None:
    """Load and run every file asked for; one answering line each, with the request's number, and one at the start."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a runtime prints is no answer
    print("ready", file=answers)
    while readable(sys.stdin, _IDLE_S):
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        with contextlib.suppress(Exception):  # a refusal is no death: the caller meets it again
            _try(request["path"], request["level"], request.get("inputs", ""))
        print(f"alive {request['number']}", file=answers)


def _try(path: str, level: str, inputs: str) -> None:
    """Once, on inputs of a file, or on noise."""
    session = open_session(path, level=level)
    if inputs:
        with np.load(inputs, allow_pickle=False) as given:
            session.run(None, {one.name: given[f"arr_{k}"] for k, one in enumerate(session.get_inputs())})
        return
    sizes = [[size if isinstance(size, int) else 1 for size in one.shape] for one in session.get_inputs()]
    noise = np.random.default_rng(0)
    session.run(None, feeds(session, [noise.random(size) for size in sizes]))


if __name__ == "__main__":
    main()
