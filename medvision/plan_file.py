"""A plan as a JSON file that a person can read and edit: what to train, how, and why so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from medvision.errors import SpecError
from medvision.files import write_text
from medvision.from_json import build_dataclass, parse_json
from medvision.spec import ModelSpec
from medvision.train_config import TrainConfig

PLAN = "plan.json"
AS_SET = "as set"  # the reason of a setting that a person gave
HOMES = {f.name: "train" for f in fields(TrainConfig)} | {f.name: "spec" for f in fields(ModelSpec)}


@dataclass(frozen=True)
class Plan:
    """What to train and how, and why so.

    Parameters
    ----------
    spec : ModelSpec
    train : TrainConfig
    reasons : mapping of str to str
        One line for each decision, by the name of the setting.
    """

    spec: ModelSpec
    train: TrainConfig
    reasons: Mapping[str, str]

    def to_json(self) -> str:
        """Return the plan as indented JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def write_plan(plan: Plan, path: Path) -> Path:
    """Write a plan."""
    return write_text(path, plan.to_json())


def read_plan(path: Path) -> Plan:
    """Read what `write_plan` wrote, and a person may have edited.

    Raises
    ------
    SpecError
        When it is not there, or no plan; it names the file and the setting.
    """
    if not path.is_file():
        raise SpecError(f"No such file: {path}. A plan is written by medvision plan.")
    try:
        data: Any = parse_json(path.read_text(encoding="utf-8"))
        return build_dataclass(Plan, data)
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} is no plan: {error}.") from None
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def with_settings(plan: Plan, settings: Sequence[str]) -> Plan:
    """Return a plan with settings replaced, each given as ``name=value``.

    Names are those of `TrainConfig` and `ModelSpec`, with dots for what lies inside
    (``augment.mirror=RAS``, ``inputs.0.intensity.rule=window``); values are JSON, plain text, or
    parts with commas: numbers (``roi_size=64,64,64``), and text where a list stands.

    Raises
    ------
    SpecError
        For a setting that is not there, or does not fit.
    """
    data: dict[str, Any] = json.loads(json.dumps(asdict(plan)))
    check_settings(settings)
    for setting in settings:
        name, _, text = setting.partition("=")
        first, *rest = name.strip().split(".")
        place: Any = data[HOMES[first]]
        last: Any = first
        for deeper in rest:
            place = place.get(last) if isinstance(place, dict) else place[last]
            last = int(deeper) if isinstance(place, list) and deeper.isdecimal() else deeper
            if not isinstance(place, dict) and not (
                isinstance(place, list) and last in range(len(place))
            ):
                raise SpecError(f"{setting!r}: there is no {deeper} to set.")
        before = place.get(last) if isinstance(place, dict) else place[last]
        place[last] = value_of(text.strip(), isinstance(before, list))
        data["reasons"] = reasons_without(data["reasons"], name.strip()) | {name.strip(): AS_SET}
    return build_dataclass(Plan, data)


def check_settings(settings: Sequence[str]) -> None:
    """Refuse settings that no plan has, before there is one.

    Raises
    ------
    SpecError
    """
    for setting in settings:
        name, equals, _ = setting.partition("=")
        if not equals or name.strip().split(".")[0] not in HOMES:
            raise SpecError(f"No setting {setting!r}. Known: {', '.join(sorted(HOMES))}.")


def reasons_without(reasons: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the reasons that still hold when a setting is another.

    Those of what it lies in and of what lies in it do not: they tell how the old one was found.
    """
    return {
        other: why
        for other, why in reasons.items()
        if not f"{name}.".startswith(f"{other}.") and not other.startswith(f"{name}.")
    }


def value_of(text: str, several: bool) -> Any:
    """Read a value from the command line; text with commas is `several`, or one with commas."""
    for candidate in (text, f"[{text}]" if "," in text else text):
        try:
            return parse_json(candidate)
        except ValueError:
            continue
    return [part.strip() for part in text.split(",")] if several else text
