"""How long `import workbench` takes in a fresh interpreter, and what it loads.

    python benchmarks/import_time.py

Prints the median, least and most of 15 starts, less the start of Python itself, in milliseconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15
LIMIT_MS = 200


def start_ms(code: str) -> float:
    """Wall time of a fresh interpreter that runs `code`, in milliseconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    pairs = [(start_ms("import workbench"), start_ms("pass")) for _ in range(RUNS)]  # in turns: the machine drifts
    times = sorted(ours - bare for ours, bare in pairs)
    count = "import sys; before = set(sys.modules); import workbench; print(len(set(sys.modules) - before))"
    modules = subprocess.run([sys.executable, "-c", count], check=True, capture_output=True, text=True).stdout.strip()
    print(
        f"import workbench: {statistics.median(times):.0f} ms (least {times[0]:.0f}, most {times[-1]:.0f}, "
        f"{RUNS} runs; limit {LIMIT_MS}), {modules} modules"
    )


if __name__ == "__main__":
    main()
