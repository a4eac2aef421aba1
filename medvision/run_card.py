"""run.json, the run card: all that is needed to know how a result came about, and to repeat it."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from medvision.checkpoint import model_hash
from medvision.errors import DecodeError
from medvision.files import sha256, write_text
from medvision.jobs import Outcome
from medvision.predictor import Predictor
from medvision.zoo import find_model

RUN_CARD = "run.json"
PACKAGES = ("medvision-toolkit", "torch", "monai", "numpy", "nibabel", "pydicom", "pillow")


def run_card(
    outcomes: Sequence[Outcome],
    predictor: Predictor,
    model: str,
    formats: Sequence[str],
    command: Sequence[str],
    started: float,
) -> dict[str, Any]:
    """Return the card of a finished run; paths are as the user gave them."""
    return {
        "command": list(command),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 3),
        "peak_memory_mb": peak_memory_mb(),
        "model": {
            "name": predictor.spec.name,
            "given_as": model,
            "sha256": model_hash(find_model(model)),
        },
        "formats": list(formats),
        "resolved": {
            "device": str(predictor.device),
            "device_name": device_name(predictor.device),
            "runtime": "torch eager",
            "precision": "float32",
            "tf32": predictor.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
            "threads": torch.get_num_threads(),
            "seed": None,  # prediction draws no random number
        },
        "versions": {"python": platform.python_version(), **package_versions()},
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "cases": [case_entry(outcome) for outcome in outcomes],
    }


def case_entry(outcome: Outcome) -> dict[str, Any]:
    """Return what the card keeps of one case."""
    job = outcome.job
    return {
        "case_id": job.case_id,
        "source": str(job.source),
        "study_uid": job.study.uid if job.study else "",
        "series": list(job.series),
        "box": None
        if job.box is None
        else {
            "low": list(job.box.low),
            "high": list(job.box.high),
            "name": job.box.name,
            "space": job.box.space,
        },
        "status": outcome.row["status"],
        "reason": outcome.row.get("reason", ""),
        "input_sha256": outcome.input_sha256,
        "outputs": outcome.outputs,
        "seconds": outcome.seconds,
    }


def begin_run_card(folder: Path, command: Sequence[str]) -> Path:
    """Mark a folder as one of results, before the first result lies in it."""
    return write_run_card(folder, {"command": list(command), "status": "unfinished"})


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
        card = json.loads(path.read_text(encoding="utf-8"))
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


def hash_inputs(sources: Sequence[Path]) -> str:
    """Return the SHA-256 of a file; of several, the SHA-256 over their hex digests in order."""
    digests = [sha256(path) for path in sources]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def peak_memory_mb() -> int | None:
    """Return the largest resident size of this process so far, in MB; None where unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1e6 if sys.platform == "darwin" else 1e3))  # bytes there, KiB elsewhere


def device_name(device: torch.device) -> str:
    """Return the name of the GPU or processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def package_versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
