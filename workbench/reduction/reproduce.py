"""Show the fault of the model beside this file. Needs Python, numpy and onnxruntime alone.

    python reproduce.py [FOLDER] [--seconds 2]

Exit code: 1 where the fault shows here, 0 where it does not, 2 where it cannot be looked at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MODEL, RIGHT, INPUT, EXPECTED, FAULT = "model.onnx", "right.onnx", "input.npz", "expected.npz", "fault.json"
ROUNDS, BLOCK_S, Z95 = 15, 0.005, 1.96
#: What loading files anew shifts a ratio of two times by, as a standard deviation of its logarithm.
PLACEMENT = 0.02


def session_of(path: Path, optimised: bool = True) -> Any:
    """ONNX Runtime on one thread of the processor, with its rewriting of graphs or without."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def arrays(path: Path) -> list[Any]:
    """The arrays of an .npz file, in order."""
    with np.load(path, allow_pickle=False) as held:
        return [held[f"array_{index}"] for index in range(len(held.files))]


def model_runs(folder: Path, said: dict[str, Any]) -> Callable[[], list[Any]]:
    """What runs the model on its input."""
    session, given = session_of(folder / MODEL), dict(zip(said["inputs"], arrays(folder / INPUT), strict=True))
    return lambda: session.run(None, given)


def right_runs(folder: Path, said: dict[str, Any]) -> Callable[[], list[Any]]:
    """What runs that which is right on the same input."""
    own = (folder / RIGHT).is_file()
    session = session_of(folder / (RIGHT if own else MODEL), optimised=said["right_level"] == "all")
    given = dict(zip(said["inputs"], arrays(folder / INPUT), strict=True))
    kinds = {one.name: {"tensor(float)": np.float32, "tensor(float16)": np.float16}.get(one.type)
             for one in session.get_inputs()}  # fmt: skip
    named = {other: np.asarray(given[one], kinds[other]) for one, other in said["right_inputs"].items()}
    return lambda: session.run(None, named)


def wrong(folder: Path, said: dict[str, Any], seconds: float) -> tuple[bool, str]:
    """Whether outputs are further from the right ones than is allowed."""
    gap = 0.0
    for found, right in zip(model_runs(folder, said)(), arrays(folder / EXPECTED), strict=True):
        if found.shape != right.shape:
            return True, f"an output has shape {found.shape}, the right one {right.shape}"
        far = np.where(found == right, 0.0, np.abs(found.astype(np.float64) - right.astype(np.float64)))
        largest = float(np.abs(right[np.isfinite(right)]).max(initial=0.0))
        gap = max(gap, float(np.nan_to_num(far, nan=np.inf).max(initial=0.0)) / max(largest, 1e-12))
    text = f"outputs are off by {gap:.3g} of their largest number, {said['tolerance']:.3g} is allowed"
    return gap > said["tolerance"], f"{text}; {said['figure'][0]:.3g} where it was found"


def slow(folder: Path, said: dict[str, Any], seconds: float) -> tuple[bool, str]:
    """Whether it is surely slower than what is right: the median ratio of rounds in turns, with a 95 % interval."""
    runs = [right_runs(folder, said), model_runs(folder, said)]
    counts = [max(1, min(50, round(BLOCK_S / max(timed(run, 10), 1e-7)))) for run in runs]
    ratios: list[float] = []
    started = time.perf_counter()
    while len(ratios) < ROUNDS or (time.perf_counter() - started < seconds and len(ratios) < 1000):
        order = (0, 1) if len(ratios) % 2 else (1, 0)
        found = {index: timed(runs[index], counts[index]) for index in order}
        ratios.append(float(np.log(found[0] / found[1])))
    value, low, high = interval(np.sort(ratios))
    was = "{:.3g} ({:.3g} to {:.3g})".format(*said["figure"])
    return high < 1, f"it runs at {value:.3g} times the speed of {RIGHT} ({low:.3g} to {high:.3g}); {was} where found"


def timed(run: Callable[[], Any], runs: int) -> float:
    """Seconds of one run: the lower quartile of several, of which some may have been interrupted."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return sorted(times)[(runs - 1) // 4]


def interval(logs: Any) -> tuple[float, float, float]:
    """The median of ratios with a 95 % interval, from their sorted logarithms."""
    count, middle = len(logs), float(np.median(logs))
    centre, reach = (count - 1) / 2, Z95 * np.sqrt(count) / 2
    ends = logs[max(0, int(centre - reach))], logs[min(count - 1, int(np.ceil(centre + reach)))]
    below, above = (float(np.hypot(one - middle, Z95 * PLACEMENT)) for one in ends)
    return float(np.exp(middle)), float(np.exp(middle - below)), float(np.exp(middle + above))


def refused(folder: Path, said: dict[str, Any], seconds: float) -> tuple[bool, str]:
    """Whether the runtime raises."""
    try:
        model_runs(folder, said)()
    except Exception as error:  # noqa: BLE001  # whatever it raises is the fault
        return True, f"ONNX Runtime refuses it: {str(error).strip().splitlines()[0][:300]}"
    return False, "ONNX Runtime runs it"


def ends(folder: Path, said: dict[str, Any], seconds: float) -> tuple[bool, str]:
    """Whether the runtime ends its process, which is one of its own."""
    done = subprocess.run([sys.executable, __file__, str(folder), "--apart"], capture_output=True, check=False)
    if done.returncode < 0 or done.returncode > 2:
        return True, f"ONNX Runtime ends its process: code {done.returncode}; {said['said']} where it was found"
    return False, "the process lives"


LOOKS = {"wrong": wrong, "slow": slow, "refused": refused, "ends the process": ends}


def main(arguments: Sequence[str] | None = None) -> int:
    """Look for the fault; the exit code."""
    parser = argparse.ArgumentParser(description="Show the fault of the model beside this file.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to time a slow one")
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    try:
        import onnxruntime

        said = json.loads((asked.folder / FAULT).read_text(encoding="utf-8"))
        look = refused if asked.apart else LOOKS[said["fault"]]
        shows, text = look(asked.folder, said, asked.seconds)
    except Exception as error:  # noqa: BLE001  # what is missing or damaged is said in a line
        print(f"It cannot be looked at: {error!r}", file=sys.stderr)
        return 2
    head = "THE FAULT SHOWS" if shows else "the fault does not show"
    print(f"{head}: {text}. (onnxruntime {onnxruntime.__version__}, numpy {np.__version__})")
    return int(shows)


if __name__ == "__main__":
    sys.exit(main())
