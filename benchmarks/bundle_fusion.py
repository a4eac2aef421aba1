"""The fusion model that ships with medvision: out of what fusion.py trained, with its card.

python benchmarks/bundle_fusion.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from fusion import RUNS, SEEN
from safetensors.torch import load_file

from medvision.checkpoint import WEIGHTS, load_spec, save_model
from medvision.metrics import auc
from medvision.pair_phantom import WORDS, best_auc
from medvision.run_card import package_versions

BUNDLED = Path(__file__).parents[1] / "medvision" / "weights"
KIND, DIMS, METHOD, SEED, NAME = "additive", 2, "gated", 0, "synthetic-pairs"


def main() -> None:
    """Write the model folder."""
    run = RUNS / f"{KIND}{DIMS}d" / METHOD / f"seed{SEED}"
    spec, weights = load_spec(run / "model"), load_file(run / "model" / WEIGHTS)
    truth, said = np.load(RUNS / f"truth_{KIND}{DIMS}d.npy"), np.load(run / "said.npz")
    rows = "\n".join(
        f"| {seen} | {auc(truth, said[seen]):.3f} | {best_auc(KIND, seen):.3f} |"  # type: ignore[arg-type]
        for seen in SEEN
    )
    cases = spec.fingerprint.cases if spec.fingerprint else 0
    parameters = sum(value.numel() for value in weights.values())
    card = f"""\
# {NAME}

**Synthetic: this model knows nothing of patients.** Research use only, not a medical device.

It is there so that reports, explanations and the app's report panel can be tried on a bare machine.

**Takes** a picture as `medvision datasets pairs` draws it (32 × 32 pixels, a bright spot on gray),
and a report whose indication says how strong a pain is: {", ".join(WORDS)}. Either may be missing.

**Says** how likely the made-up disease is `present`. It is likelier the brighter the spot and the
stronger the pain. Any other picture and any real report get an answer, too, and it means nothing.

**Trained on** {cases:,} drawn cases; no data of anybody. The code that draws them and these weights
are under medvision's license, Apache-2.0.

## How good

On {len(truth):,} other drawn cases:

| what it sees | AUC | best possible |
|---|---|---|
{rows}

## How made

{spec.architecture}, {METHOD} fusion, {parameters:,} weights.
{", ".join(f"{k} {v}" for k, v in package_versions().items())}

    python benchmarks/fusion.py --dims 2
    python benchmarks/bundle_fusion.py
"""
    save_model(BUNDLED / NAME, replace(spec, name=NAME), weights, card)
    print(f"Wrote {BUNDLED / NAME}")


if __name__ == "__main__":
    main()
