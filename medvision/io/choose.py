"""Which series of a study feeds which input of a model, by their headers alone.

Never guesses: several that fit, or none, is an error that lists every candidate. Knows nothing of
voxels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from medvision.errors import DecodeError, SeriesError
from medvision.spec import InputSpec
from medvision.study import SeriesRef, StudyRef

HOW = "by its number, UID or part of its description"
SHOWN = "which `medvision info` shows"


def choose_inputs(
    study: StudyRef, inputs: Sequence[InputSpec], wanted: Sequence[str] = ()
) -> dict[str, SeriesRef]:
    """Return the series that feeds each input.

    A series fits an input unless a known fact contradicts it; one of which more is known to match
    beats one of which less is. A series feeds one input only.

    Parameters
    ----------
    study : StudyRef
    inputs : sequence of InputSpec
        The reference first.
    wanted : sequence of str
        What the user says instead: ``"LABEL"`` for a single input, ``"name=LABEL"`` for one of
        several. LABEL is a series' label, number, UID, or part of its description, and overrules
        every fact.

    Returns
    -------
    dict of str to SeriesRef
        By input, in the order of `inputs`.

    Raises
    ------
    SeriesError
        Listing the candidates, when several fit an input, or none does.
    DecodeError
        When none of its images can be read: what is wrong with them, and nothing else.
    """
    check_readable(study)
    named = by_input(inputs, wanted)
    chosen = {name: named_series(study, label, name) for name, label in named.items()}
    while free := [one for one in inputs if one.name not in chosen]:
        fits = {one.name: best_fits(study, one, chosen) for one in free}
        sure = {name: series[0] for name, series in fits.items() if len(series) == 1}
        if not sure:
            one, count = free[0], len(fits[free[0].name])
            start = f"{count or 'No'} series of {study.path} fit{'' if count else 's'}"
            raise refusal(study, inputs, one, f"{start} {described(one)}", chosen)
        for name, series in sure.items():
            rivals = [other for other, its in sure.items() if its == series]
            if len(rivals) > 1:
                start = f"One series of {study.path} fits {' and '.join(rivals)} alike"
                one = next(one for one in free if one.name == name)
                raise refusal(study, inputs, one, start, chosen)
            chosen[name] = series
    return {one.name: chosen[one.name] for one in inputs}


def by_input(inputs: Sequence[InputSpec], wanted: Sequence[str]) -> dict[str, str]:
    """Return the label asked for each input that one is asked for.

    Raises
    ------
    SeriesError
        When it is not said which input a label is meant for, or two are meant for one.
    """
    names = [one.name for one in inputs]
    labels: dict[str, str] = {}
    for text in wanted:
        name, equals, label = text.partition("=")
        if not equals or name not in names:
            name, label = names[0], text
            if len(names) > 1:
                raise SeriesError(
                    f"--series {text!r} does not say which input it is for: write "
                    f"{' or '.join(f'{n}=…' for n in names)}."
                )
        if name in labels:
            raise SeriesError(
                f"Two series are asked for input {name}: {labels[name]!r} and {label!r}."
            )
        labels[name] = label
    return labels


def named_series(study: StudyRef, label: str, name: str) -> SeriesRef:
    """Return the series that a user means; see `choose_inputs` for errors."""
    candidates = images_of(study)
    fits = fitting(candidates, label)
    if len(fits) == 1 and not fits[0].problem:
        return fits[0]
    if len(fits) == 1:
        problem = f"Series {label!r} of {study.path} cannot be read"
    elif fits:
        problem = f"{len(fits)} series of {study.path} fit {label!r}"
    else:
        problem = f"No series of {study.path} fits {label!r}"
    lines = [line(series, series.problem) for series in fits or candidates]
    raise SeriesError(
        f"{problem}; choose one for {name} {HOW} (--series), {SHOWN}:\n" + "\n".join(lines)
    )


def fitting(found: Iterable[SeriesRef], wanted: str) -> list[SeriesRef]:
    """Return what fits best: label, then number, then UID or its digest, then the description."""
    everything = list(found)
    for test in (
        lambda s: s.label == wanted,
        lambda s: s.format == "dicom" and s.label.partition(".")[0] == wanted,
        lambda s: bool(wanted) and wanted in (s.uid, s.key),
        lambda s: wanted.lower() in s.description.lower(),
    ):
        fits = [series for series in everything if test(series)]
        if fits:
            return fits
    return []


def images_of(study: StudyRef) -> list[SeriesRef]:
    """Return the image series of a study; that there is none is a `SeriesError`."""
    images = [series for series in study.series if series.role == "image"]
    if not images:
        rest = [line(series, f"{series.role}, no image") for series in study.series]
        raise SeriesError("\n".join([f"{study.path} holds no image series.", *rest]))
    return images


def check_readable(study: StudyRef) -> None:
    """Raise `DecodeError` with what is wrong when no image of a study can be read."""
    images = images_of(study)
    if any(not one.problem for one in images):
        return
    if len(images) == 1:
        raise DecodeError(images[0].problem)
    lines = [f"No image series of {study.path} can be read:"]
    raise DecodeError("\n".join([*lines, *(line(one, one.problem) for one in images)]))


def best_fits(study: StudyRef, one: InputSpec, chosen: Mapping[str, SeriesRef]) -> list[SeriesRef]:
    """Return the free series that nothing speaks against, without those that another beats."""
    free = [s for s in images_of(study) if not s.problem and s not in chosen.values()]
    held = [(series, *compare(series, one)) for series in free]
    fits = [(series, matches) for series, matches, against, _ in held if not against]
    return [s for s, matches in fits if not any(other > matches for _, other in fits)]


def compare(series: SeriesRef, one: InputSpec) -> tuple[frozenset[str], list[str], list[str]]:
    """Hold what is known of a series against what an input asks for.

    Returns
    -------
    matches : frozenset of str
        Facts that match.
    against, unknown : list of str
        What contradicts, and what is not known, in words.
    """
    found = re.search(one.description, series.description, re.IGNORECASE) is not None
    agent = "with contrast" if series.contrast else "without contrast"
    matches, against, unknown = set(), [], []
    for fact, asked, known, fits, words in (
        ("modality", one.modality, series.modality, series.modality == one.modality, ""),
        (
            "description",
            one.description,
            series.description,
            found,
            f"no {one.description!r} in its description",
        ),
        ("plane", one.plane, series.plane, series.plane == one.plane, ""),
        ("contrast", one.contrast, series.contrast, series.contrast == one.contrast, agent),
    ):
        if asked in ("", None):
            continue
        if known in ("", None):
            unknown.append(f"{fact} unknown")
        elif fits:
            matches.add(fact)
        else:
            against.append(words or f"{known}, not {asked}")
    return frozenset(matches), against, unknown


def refusal(
    study: StudyRef,
    inputs: Sequence[InputSpec],
    one: InputSpec,
    problem: str,
    chosen: Mapping[str, SeriesRef],
) -> SeriesError:
    """Return an error that lists every candidate, each with what speaks against it."""
    lines = []
    for series in images_of(study):
        feeds = [name for name, its in chosen.items() if its == series]
        _, against, unknown = compare(series, one)
        if series.problem:
            why = series.problem
        elif feeds:
            why = f"feeds {' and '.join(feeds)}"
        else:
            why = ", ".join(against or unknown)
        lines.append(line(series, why))
    option = f"--series {one.name}=…" if len(inputs) > 1 else "--series"
    return SeriesError(f"{problem}; choose one {HOW} ({option}), {SHOWN}:\n" + "\n".join(lines))


def described(one: InputSpec) -> str:
    """Return an input and what it asks for, in words."""
    asks = [one.modality, one.plane, f"{one.description!r}" if one.description else ""]
    if one.contrast is not None:
        asks.append("with contrast" if one.contrast else "without contrast")
    asked = ", ".join(filter(None, asks))
    return f"input {one.name} ({asked})" if asked else f"input {one.name}"


def line(series: SeriesRef, why: str) -> str:
    """Return one candidate of a list, and what speaks against it."""
    return f"  {series}{f' — {why}' if why else ''}"
