"""The fusion model that ships with medvision, trained on the phantoms of fusion.py.

    python benchmarks/bundle_fusion.py

With batch norm, not fusion.py's group norm: there a bright lesion shifts what every voxel of a map
says, so that the network need not look at it, and Grad-CAM points anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from card_sections import BUNDLED, section
from fusion import RUNS, SEEN, data, plan_of, say, truth_of
from safetensors.torch import load_file

from medvision.checkpoint import WEIGHTS, load_spec, save_model
from medvision.dataset import read_cases
from medvision.items import load_items
from medvision.metrics import auc
from medvision.pair_phantom import CLASSES, WORDS, best_auc
from medvision.plan_file import with_settings
from medvision.predictor import load_predictor
from medvision.run_card import package_versions
from medvision.score_tables import score_table
from medvision.scores import ClassScore
from medvision.train import train

KIND, DIMS, METHOD, SEED, NAME = "additive", 2, "gated", 0, "synthetic-pairs"


def results_text(model: str | Path = NAME) -> str:
    """Return the figures of a model, by default of the one that ships."""
    predictor, config = load_predictor(model, "cpu"), plan_of(KIND, DIMS, METHOD, SEED).train
    cases = read_cases(data(KIND, DIMS), ("test",), "classification")
    items = load_items(cases, predictor.spec, config, show=False)
    truth, reports = truth_of(items), [item.report for item in items]
    said = {seen: say(predictor, items, reports, seen) for seen in SEEN}
    rows = "\n".join(
        f"| {seen} | {auc(truth, said[seen]):.3f} | {best_auc(KIND, seen):.3f} |"  # type: ignore[arg-type]
        for seen in SEEN
    )
    scores = [
        ClassScore(f"{n}", CLASSES[true], dict(zip(CLASSES, map(float, shares), strict=True)))
        for n, (true, shares) in enumerate(zip(truth, said["both"], strict=True))
    ]
    table = score_table(scores, {score.case_id: score.case_id for score in scores})
    return (
        f"On {len(truth):,} other drawn cases:\n\n| what it sees | AUC | best possible |\n"
        f"|---|---|---|\n{rows}\n\nOf both:\n\n{table}"
    )


def main() -> None:
    """Write the model folder."""
    torch.set_num_threads(1)
    plan = with_settings(plan_of(KIND, DIMS, METHOD, SEED), ["network.norm=batch"])
    cases = read_cases(data(KIND, DIMS), (), "classification")
    known = [case for case in cases if case.split != "test"]
    run = train(known, [], plan.spec, plan.train, RUNS / NAME, "cpu", resume=True, show=False)
    spec, weights = load_spec(run.model), load_file(run.model / WEIGHTS)
    parameters = sum(value.numel() for value in weights.values())
    card = f"""\
# {NAME}

**Synthetic: this model knows nothing of patients.** Research use only, not a medical device.

It is there so that reports, explanations and the app's report panel can be tried on a bare machine.

**Takes** a picture as `medvision datasets pairs` draws it (32 × 32 pixels, a bright spot on gray),
and a report whose indication says how strong a pain is ({", ".join(WORDS)}).
Either may be missing.

**Says** how likely the made-up disease is `present`. It is likelier the brighter the spot and the
stronger the pain. Any other picture and any real report get an answer, too, and it means nothing.

**Trained on** {len(known):,} drawn cases; no data of anybody. The code that draws them and these
weights are under medvision's license, Apache-2.0.

## How good

{section(results_text(run.model))}

## How made

{spec.architecture}, {METHOD} fusion, {parameters:,} weights, {plan.train.steps} steps.
{", ".join(f"{k} {v}" for k, v in package_versions().items())}

    python benchmarks/bundle_fusion.py
"""
    save_model(BUNDLED / NAME, replace(spec, name=NAME), weights, card)
    print(f"Wrote {BUNDLED / NAME}")


if __name__ == "__main__":
    main()
