"""A reader that goes wrong in every way: what a run must notice."""

import os
import signal

from fuzzing.target import Target, files_in

from medvision.errors import DecodeError


def go_wrong(folder):
    """End in the way that the name of the file says."""
    match files_in(folder)[0].stem:
        case "raises":
            raise KeyError("planted")
        case "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hangs":
            while True:
                pass
        case "fills":
            bytearray(os.urandom(1 << 20)) * 1100
        case "refuses":
            raise DecodeError("planted")


def one(name):
    """Return a target of one file, of which no mutation is another file."""
    return Target(lambda folder: [{f"{name}.bin": b"0" * 9}], (go_wrong,), 1)


TARGETS = {name: one(name) for name in ("raises", "crashes", "hangs", "fills", "refuses")}
