"""Mutations of a suite, read in processes that are watched; what goes wrong is kept.

By hand, with tests/ and the repository on the path: ``python -m fuzzing.run SUITE [SEED [COUNT
[TARGET …]]]``.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

TESTS = Path(__file__).parents[1]
WALL_S = 300  # of one mutation, on however busy a machine: one that waits uses no processor time


def fuzz(module, seed, count, out, names=()):
    """Read mutations 0 to `count` of a suite, going on after one that ended its process.

    Returns
    -------
    list of str
        A line for each that did not end well, with the folder below `out` where its input is kept.
    """
    found, start = [], 0
    while start < count:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
            began, bad, ended = one_process([work, seed, start, count, module, *names])
            last = max(began, default=start - 1)
            if ended:
                bad[last] = ended
            for number, words in bad.items():
                target, changed = began[number]
                held = Path(work) / str(number)
                kept = Path(out) / f"{target}-{seed}-{number}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(held if held.is_dir() else Path(work) / "input", kept)
                place = f"{changed} in {kept} (seed {seed}, number {number})"
                found.append(f"{target}: {place}: {words}")
            start = last + 1 if ended else count
    return found


def one_process(arguments):
    """Return which mutations began, what went wrong by number, and why the process ended early."""
    work, _, start, *_ = arguments
    command = [sys.executable, "-m", "fuzzing.worker", *map(str, arguments)]
    paths = (str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment |= {"MEDVISION_INDEX": "off", "OMP_NUM_THREADS": "1", "TMPDIR": str(work)}
    environment["MEDVISION_IMPORTED"] = f"{work}/imported"
    log = Path(work) / "log"
    began, bad, hung = {}, {}, threading.Event()
    with (
        log.open("a") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        timer = waiting(process, hung)
        for line in process.stdout:
            timer.cancel()
            kind, number, *words = line.split(maxsplit=2)
            if kind == "begin":
                began[int(number)] = words[0].split(maxsplit=1)
            elif kind == "bad":
                bad[int(number)] = words[0].strip()
            timer = waiting(process, hung)
        timer.cancel()
    if process.returncode == 0:
        return began, bad, ""
    last = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
    if process.returncode > 0 or not began:  # the worker keeps what readers raise
        raise RuntimeError(
            f"The test itself failed after number {max(began, default=start - 1)}.\n{last}"
        )
    ended = f"the process ended with {process.returncode}"
    return began, bad, f"{f'no answer within {WALL_S} s' if hung.is_set() else ended}:\n{last}"


def waiting(process, hung):
    """Return what ends a process, and says so, unless it is canceled in time."""

    def end_it():
        hung.set()
        process.kill()

    timer = threading.Timer(WALL_S, end_it)
    timer.start()
    return timer


def main(module, seed="0", count="2000", *names):
    """Print what does not end well, and where it is kept."""
    out = Path(os.environ.get("MEDVISION_FUZZ_OUT", "fuzz"))
    found = fuzz(module, seed, int(count), out, names)
    print("\n".join(found) or "all end well")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
