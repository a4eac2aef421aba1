"""A process that reads mutations one after another, and says what became of each.

``python -m fuzzing.worker FOLDER SEED START STOP SUITE [TARGET …]``, tests/ on the path. Prints
``begin N TARGET FILE`` before each, with the file that was changed, and ``end N`` after it, or
``bad N`` with the reason; the input then lies in FOLDER/N. What takes more than `CPU_S` of
processor time ends the process, and its input lies in FOLDER/input.
"""

import faulthandler
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path

from fuzzing.target import Suite, write_tree

from medvision.errors import MedvisionError

CPU_S = 5  # of one mutation
GIB = 1 << 30
ROOM = 6 * GIB  # of addresses, for the sake of the machine: what is taken is measured


def resident(name="VmRSS"):
    """Return the bytes of memory that this process has, or since `reset_peak` had at most."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition(f"{name}:")[2].split()[0])


def reset_peak():
    """Begin to measure anew: see proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")


def read_one(target, folder):
    """Ask everything of one input; return what went wrong."""
    reset_peak()
    before, words = resident(), ""
    signal.setitimer(signal.ITIMER_PROF, CPU_S)
    for ask in target.asks:
        try:
            ask(folder)
        except MedvisionError:
            continue
        except BaseException as error:
            words = f"{type(error).__name__} {error}"
            traceback.print_exc()
    signal.setitimer(signal.ITIMER_PROF, 0)
    taken = resident("VmHWM") - before
    if taken > GIB:
        words += f" took {taken / GIB:.1f} GiB"
    return words


def suite_of(module, names, folder):
    """Return the targets of a module that are named, or all of them."""
    targets = import_module(f"fuzzing.{module}").TARGETS
    return Suite({name: targets[name] for name in names or targets}, folder)


def main(folder, seed, start, stop, module, *names):
    """Read some mutations."""
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)
    warnings.simplefilter("ignore")
    work = Path(folder)
    suite = suite_of(module, names, work / "seeds")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    for number in range(int(start), int(stop)):
        name, tree, changed = suite.mutated(seed, number)
        place = work / "input"
        shutil.rmtree(place, ignore_errors=True)
        write_tree(place, tree)
        os.chdir(place)
        print("begin", number, name, changed, flush=True)
        words = read_one(suite.targets[name], place)
        if words:
            shutil.copytree(place, work / str(number))
        print("bad" if words else "end", number, " ".join(words.split()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
