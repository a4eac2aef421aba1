"""The card of a trained model: what was trained on what, how well it did, and what to beware of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from medvision.dataset import Case, patients_of
from medvision.review import limit_in_words
from medvision.score_tables import score_table
from medvision.scores import Score, least_confidences
from medvision.text_spec import TextSpec
from medvision.train_state import TrainState


def training_card(
    state: TrainState,
    cases: Sequence[Case],
    val_cases: Sequence[Case],
    scores: Sequence[Score],
    notes: Sequence[str] = (),
) -> str:
    """Return a model card in Markdown.

    Parameters
    ----------
    state : TrainState
        At its end.
    cases, val_cases : sequence of Case
    scores : sequence of Score
        Of the validation cases; perhaps none.
    notes : sequence of str
        What else must be said of the data.
    """
    spec, config = state.spec, state.config
    groups = len({case.group for case in cases})
    result = "Not validated.\n"
    if scores:
        chosen = (
            f" The weights of step {state.best_step} did best on them and were kept, so that these "
            "figures are too good; only cases that had no say tell how good the model is."
            if config.keep == "best"
            else ""
        )
        result = (
            f"On {len(val_cases)} validation cases, none of whose groups were trained on.{chosen}"
            f"\n\n{score_table(scores, patients_of(val_cases))}\n\n## Review\n\n"
            f"{limit_in_words(least_confidences(scores), len(val_cases))}\n"
        )
    begun = f"Begun with {state.begun}\n\n" if state.begun else ""
    settings = ", ".join(f"{key} {value}" for key, value in asdict(config).items())
    reports = reports_part(spec.text, cases) if spec.text else ""
    told = "".join(f"- {note}\n" for note in notes)
    return (
        f"# {spec.name}\n\nResearch use only, not a medical device.\n\n"
        f"{spec.architecture} ({spec.task}) for {', '.join(spec.class_names)}, trained by "
        f"medvision on {len(cases)} cases of {groups} groups.\n\n{reports}"
        + (f"## What the data give away\n\n{told}\n" if told else "")
        + f"## Results\n\n{result}\n## Training\n\n{begun}{settings}\n"
    )


def reports_part(text: TextSpec, cases: Sequence[Case]) -> str:
    """Return what a card says of the reports that a model reads."""
    told = sum(bool(case.report) for case in cases)
    said = (
        f"## Reports\n\nImage and report are joined by `{text.fusion}`; {told} of {len(cases)} "
        f"cases have a report. Of it the model sees: {', '.join(text.sections)}. Hidden words: "
        f"{', '.join(text.masked) or 'none'}. Without a report the image alone speaks.\n\n"
    )
    if text.opted_in:
        said += (
            f"**{' and '.join(text.opted_in).capitalize()} may hold the answer**: labels are "
            "mostly mined from what was written after looking at the image. Results then tell how "
            "well the model reads that, not how well it sees.\n\n"
        )
    return said
