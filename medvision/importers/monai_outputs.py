"""What a bundle's network says, channel by channel, as classes, regions and cleanup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medvision.cleanup_spec import Cleanup
from medvision.errors import SpecError
from medvision.importers.imported import MOST
from medvision.importers.monai_answers import Answers, joined
from medvision.spec import BETWEEN, NO_CLASS, Task

NESTED = ("whole", "core", "enhanc")  # of names of regions, the largest first
NEGATIVE = ("background", "negative", "normal", "no", "")


@dataclass
class Outputs:
    """The part of a spec that the network's outputs make.

    `settings` are those of `medvision.models.monai_nets.OWN`.
    """

    class_names: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    regions: tuple[int, ...] = ()
    multilabel: bool = False
    cleanup: dict[str, Cleanup] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_outputs(
    task: Task, count: int, named: Sequence[str], answers: Answers, path: Path
) -> Outputs:
    """Return what `count` channels are.

    Parameters
    ----------
    task : {"segmentation", "classification"}
    count : int
    named : sequence of str
        What the metadata call the channels; any number.
    answers : Answers
    path : Path
        Of the config, for errors.

    Raises
    ------
    SpecError
        When nothing says whether channels exclude each other, a cleanup has no class, or there are
        more structures than a mask can hold.
    """
    if not answers.meaning:
        raise SpecError(
            f"{path}: the postprocessing has neither Activationsd nor AsDiscreted: nothing says "
            "whether a voxel has one class or any number."
        )
    if answers.meaning == "one" and count == 1:
        raise SpecError(f"{path}: one output is given a softmax, which makes it 1 everywhere.")
    if task == "classification":
        return _classes(count, named, answers)
    first = 1 if answers.meaning == "one" else 0
    if count - first > MOST:
        raise SpecError(
            f"{path}: the network has {count - first} structures; a mask holds {MOST} at most."
        )
    if answers.meaning == "each" and count > 1:
        return _regions(count, named, answers, path)
    if first:
        names, made = named_channels(named, count, first)
    else:
        names, made = named_channels([n for n in named if n.lower() != "background"], 1, 0)
    found = Outputs(names, {} if first else {"binary": True}, notes=made)
    for label, step in answers.cleanup.items():
        for number in [label] if label else range(1, len(names) + 1):
            if number > len(names):
                raise SpecError(f"{path}: the postprocessing cleans label {label}, of none.")
            name = names[number - 1]
            found.cleanup[name] = joined(found.cleanup.get(name, Cleanup()), step)
    return found


def _classes(count: int, named: Sequence[str], answers: Answers) -> Outputs:
    if answers.meaning == "each" and count == 1:
        yes = [name for name in named if name.lower() not in NEGATIVE][-1:] or ["yes"]
        return Outputs((f"no {yes[0]}", yes[0]), {"binary": True})
    names, made = named_channels(named, count, 0)
    several = answers.meaning == "each"
    if several:  # names that a label of several classes can hold
        names = tuple(
            "no class" if name == NO_CLASS else name.replace(BETWEEN, "/") for name in names
        )
    return Outputs(names, multilabel=several, notes=made)


def _regions(count: int, named: Sequence[str], answers: Answers, path: Path) -> Outputs:
    """Return regions in the order in which they are painted."""
    names, notes = named_channels(named, count, 0)
    if answers.cleanup:
        raise SpecError(f"{path}: the postprocessing cleans outputs that overlap, before painting.")
    order = answers.paint or nested_order(names)
    if sorted(order) != list(range(count)):
        raise SpecError(f"{path}: the postprocessing paints channels {order} of {count}.")
    painted = tuple(names[channel] for channel in order)
    told = ", then ".join(painted)
    if answers.paint:
        labels = ", ".join(
            f"{name} {label}" for name, label in zip(painted, answers.labels, strict=True)
        )
        notes.append(f"In its own files the bundle numbers the regions so: {labels}.")
        why = "as the bundle paints them"
    elif order != list(range(count)):
        why = "from the largest to what lies in it, told by their names"
    else:
        why = "in the order of the network's channels, for nothing says which lies in which"
    notes.append(
        f"The regions overlap. A mask has one label a voxel: painted are {told}, {why}; each "
        "covers what was painted before."
    )
    settings = {} if order == list(range(count)) else {"order": list(order)}
    return Outputs(painted, settings, tuple(range(1, count + 1)), notes=notes)


def nested_order(names: Sequence[str]) -> list[int]:
    """Return channels from the largest region to the innermost, if their names tell; else as given.

    Examples
    --------
    >>> nested_order(["Tumor core", "Whole tumor", "Enhancing tumor"])
    [1, 0, 2]
    """
    ranks = [
        next((rank for rank, word in enumerate(NESTED) if word in name.lower()), -1)
        for name in names
    ]
    channels = list(range(len(names)))
    if -1 in ranks or len(set(ranks)) < len(ranks):
        return channels
    return sorted(channels, key=lambda channel: ranks[channel])


def named_channels(
    named: Sequence[str], count: int, first: int
) -> tuple[tuple[str, ...], list[str]]:
    """Return names of the channels from `first` on, all different, and a note if they are made."""
    given, notes = list(named[first:]), []
    if len(named) != count or "" in given:
        given = [f"class {number}" for number in range(1, count - first + 1)]
        notes.append("The bundle's metadata do not name its classes: they are numbered.")
    return tuple(different(given)), notes


def different(names: Sequence[str]) -> list[str]:
    """Return names that differ, with numbers after those that come again."""
    found: list[str] = []
    for name in names:
        number, one = 2, name
        while one in found:
            one, number = f"{name}_{number}", number + 1
        found.append(one)
    return found
