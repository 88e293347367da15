"""One measurement in a process of its own: peak memory, or the time with some cores.

    python -m benchmarks.alone {memory,clips} MODEL DTYPE CLIP

prints a number. `CORES` in the environment says how many it may use.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

TESTS = Path(__file__).parents[1]
CORES = "MERCLIP_BENCHMARK_CORES"
PEER = "open_clip"
N_CLIPS = 5


def run(*arguments: object, cores: int | None = None) -> float:
    """Start this file in a new process, and return what it printed.

    Raises
    ------
    RuntimeError
        The process failed; the message has its last words.
    """
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    if cores is not None:
        environment |= {CORES: str(cores), "OMP_NUM_THREADS": str(cores)}
    command = [sys.executable, "-m", "benchmarks.alone", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stderr.strip()[-500:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure what the command line says."""
    task, model, dtype, path = sys.argv[1:]
    _keep_to_cores()
    predict = _predictor(model, None if dtype == "None" else dtype, Path(path))
    predict()
    found = peak_memory() if task == "memory" else _seconds(predict)
    print(json.dumps(found))


def peak_memory() -> float:
    """Return the most memory that this process had at any time, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: what it gives, a process inherits from the one that started it.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _keep_to_cores() -> None:
    cores = os.environ.get(CORES)
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])


def _predictor(model: str, dtype: str | None, path: Path) -> Any:
    from benchmarks.clips import LABELS, TEXT

    if model == PEER:
        from benchmarks.peers import HandBatched

        peer = HandBatched(LABELS)
        return lambda: peer(path, TEXT)
    from benchmarks.ours import classifier

    made = classifier(model, dtype)
    return lambda: made(video=path, text=TEXT)


def _seconds(predict: Any) -> float:
    taken = []
    for _ in range(N_CLIPS):
        begin = time.perf_counter()
        predict()
        taken.append(time.perf_counter() - begin)
    return median(taken)


if __name__ == "__main__":
    main()
