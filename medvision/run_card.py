"""run.json, the run card: all that is needed to know how a result came about, and to repeat it.

Several runs may have written into one folder: what is of each is in ``runs``. Cards of earlier
versions know the last one alone, whose command, start, seconds and versions are the card's own.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from medvision.errors import DecodeError
from medvision.files import write_text
from medvision.from_json import parse_json
from medvision.geometry import Box
from medvision.jobs import Outcome
from medvision.predictor import Predictor
from medvision.runtime import device_name

RUN_CARD = "run.json"
PACKAGES = (
    "medvision-toolkit", "torch", "monai", "openvino", "numpy", "nibabel", "isal", "pydicom",
    "pillow",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What the card says of a run and of all its studies.

    Parameters
    ----------
    name, given_as, sha256 : str
        The model: its own name, what the user called it, and its hash.
    formats, command : tuple of str
    started : float
        Seconds since the epoch.
    """

    name: str
    given_as: str
    sha256: str
    formats: tuple[str, ...]
    command: tuple[str, ...]
    started: float


def run_card(
    outcomes: Sequence[Outcome],
    facts: Facts,
    resolved: dict[str, Any],
    runs: Sequence[dict[str, Any]],
    finished: bool = True,
) -> dict[str, Any]:
    """Return the card of a folder's results; paths are as the user gave them.

    `resolved` is what `resolved_of` says where the network runs, `runs` what `run_entry` said of
    every run into the folder, the first one first.
    """
    return {
        **({} if finished else {"status": "unfinished"}),
        "runs": list(runs),
        "model": {"name": facts.name, "given_as": facts.given_as, "sha256": facts.sha256},
        "formats": list(facts.formats),
        "resolved": resolved,
        "cases": [case_entry(outcome) for outcome in outcomes],
    }


def run_entry(facts: Facts, ended: int) -> dict[str, Any]:
    """Return what the card says of one run, up to now.

    `ended` is how many of the cases that it found waiting have ended, by it or by others that it
    shares the folder with.
    """
    return {
        "command": list(facts.command),
        "started": datetime.fromtimestamp(facts.started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - facts.started, 3),
        "cases": ended,
        "peak_memory_mb": peak_memory_mb(),
        "versions": {"python": platform.python_version(), **package_versions()},
        "platform": {"system": platform.system(), "machine": platform.machine()},
    }


def resolved_of(predictor: Predictor) -> dict[str, Any]:
    """Return what the settings came to on this machine."""
    return {
        "device": str(predictor.device),
        "device_name": device_name(predictor.device),
        **predictor.execution.record(),
        "tta": predictor.tta,
        "tf32": predictor.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
        "threads": torch.get_num_threads(),
        "seed": None,  # prediction draws no random number
    }


def case_entry(outcome: Outcome) -> dict[str, Any]:
    """Return what the card keeps of one case."""
    job = outcome.job
    return {
        "case_id": job.case_id,
        "source": str(job.source),
        "study_key": outcome.study_key,
        "series": list(job.series),
        "box": box_entry(job.box),
        "status": outcome.row["status"],
        "reason": outcome.row.get("reason", ""),
        "input_sha256": outcome.input_sha256,
        "outputs": outcome.outputs,
        "seconds": outcome.seconds,
    }


def box_entry(box: Box | None) -> dict[str, Any] | None:
    """Return a box as JSON values."""
    if box is None:
        return None
    return {"low": list(box.low), "high": list(box.high), "name": box.name, "space": box.space}


def box_of(entry: dict[str, Any] | None) -> Box | None:
    """Return the box that `box_entry` stands for."""
    if entry is None:
        return None
    return Box(tuple(entry["low"]), tuple(entry["high"]), entry["name"], entry["space"])


def write_run_card(folder: Path, card: dict[str, Any]) -> Path:
    """Write run.json into a results folder."""
    return write_text(folder / RUN_CARD, json.dumps(card, indent=2) + "\n")


def read_run_card(path: Path) -> dict[str, Any]:
    """Read a run.json, given itself or its folder.

    Raises
    ------
    DecodeError
        When it is not there or not a run card.
    """
    path = path / RUN_CARD if path.is_dir() else path
    if not path.is_file():
        raise DecodeError(f"No run card here: {path}.")
    try:
        card = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DecodeError(f"{path} cannot be read as a run card: {error}.") from None
    missing = {"model", "cases", "resolved", "formats"} - set(
        card if isinstance(card, dict) else ()
    )
    if isinstance(card, dict) and card.get("status") == "unfinished":
        raise DecodeError(f"{path}: this run did not finish; start it again instead.")
    if missing:
        raise DecodeError(f"{path} is no run card: it lacks {', '.join(sorted(missing))}.")
    return dict(card)


def peak_memory_mb() -> int | None:
    """Return the largest resident size of this process so far, in MB; None where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1e6 if sys.platform == "darwin" else 1e3))  # bytes there, KiB elsewhere


def package_versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def command_given() -> list[str]:
    """Return the command line as the user gave it."""
    return ["medvision", *sys.argv[1:]]
