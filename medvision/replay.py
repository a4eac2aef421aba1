"""Repeat a run from its card, and tell whether the results come out the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medvision.batch import run_batch
from medvision.checkpoint import model_hash
from medvision.errors import DecodeError, SeriesError, SpecError
from medvision.io import find_studies
from medvision.jobs import Job
from medvision.outputs.uncertainty import UNCERTAINTY
from medvision.predictor import load_predictor
from medvision.run_card import box_of, read_run_card
from medvision.zoo import find_model


@dataclass(frozen=True)
class Replayed:
    """One case of a run, done again."""

    case_id: str
    identical: bool
    why: str  # empty when identical


def replay(
    card_path: Path, out: Path, command: Sequence[str] = (), show: bool = True
) -> list[Replayed]:
    """Run every case of a card again, into `out`, and compare what it wrote, byte for byte.

    Zipped files are compared by what is inside: packed bytes also depend on the packer's version
    and on the processor.

    Raises
    ------
    DecodeError
        When the card is damaged, or of a run that did not finish.
    SeriesError
        When a scan is not where it was.
    SpecError
        When the model is not the one of the card any more.
    """
    card = read_run_card(card_path)
    try:
        given, sha256 = str(card["model"]["given_as"]), card["model"]["sha256"]
        threads, device = int(card["resolved"]["threads"]), str(card["resolved"]["device"])
        runtime = str(card["resolved"]["runtime"]).removesuffix(" eager")  # as it was called
        tta = bool(card["resolved"].get("tta"))
        cases = {case["case_id"]: case for case in card["cases"]}
        jobs = [job_of(case) for case in cases.values()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DecodeError(f"{card_path} is no run card that can be repeated: {error}.") from None
    if model_hash(find_model(given)) != sha256:
        raise SpecError(f"Model {given!r} is not that of the run card: its SHA-256 differs.")
    torch.set_num_threads(threads)
    predictor = load_predictor(
        given,
        device,
        runtime=runtime,
        tta=tta,
        uncertainty=UNCERTAINTY in card["formats"],
    )
    outcomes = run_batch(
        jobs, predictor, out, given, card["formats"], command, show, overwrite=True
    )
    return [
        Replayed(o.job.case_id, *compare(cases[o.job.case_id], o.input_sha256, o.outputs, o.row))
        for o in outcomes
    ]


def job_of(case: dict[str, Any]) -> Job:
    """Return the job that a case of a card was."""
    box = box_of(case["box"])
    source, key = Path(case["source"]), case.get("study_key", "")
    if case.get("study_uid"):
        raise DecodeError(
            f"The run card is of an earlier medvision, which knew the study of {case['case_id']} "
            "otherwise: predict again, and replay that."
        )
    try:
        found = find_studies(source)
    except SeriesError:
        raise SeriesError(
            f"{source} is not here: start replay in the folder where the run was started."
        ) from None
    fits = [ref for ref in found if (ref.path, ref.key) == (source, key)]
    return Job(case["case_id"], source, tuple(case["series"] or ()), box, fits[0] if fits else None)


def compare(
    case: dict[str, Any], input_sha256: str, outputs: dict[str, dict[str, str]], row: dict[str, Any]
) -> tuple[bool, str]:
    """Tell whether a case came out the same, and if not, why."""
    if case["status"] != row["status"]:
        return False, f"was {case['status']}, is {row['status']}: {row.get('reason', '')}"
    if case["input_sha256"] != input_sha256:
        return False, "the input has changed"
    before = case["outputs"]
    changed = [kind for kind, now in outputs.items() if not is_same(before.get(kind, {}), now)]
    return not changed, f"{', '.join(changed)} differ" if changed else ""


def is_same(before: dict[str, str], now: dict[str, str]) -> bool:
    """Tell whether two outputs, as run cards keep them, hold the same.

    Cards of earlier versions lack the hash of what is inside: then the packed bytes decide.
    """
    key = "unpacked_sha256" if "unpacked_sha256" in before else "sha256"
    return before.get("file") == now["file"] and before.get(key) == now.get(key)
