"""The classifiers that ship with medvision: out of what accuracy.py trained, with their cards.

    python benchmarks/bundle_classifiers.py

Of each row's seeds the one that did best on the validation split is taken; the test split has no
say.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from accuracy import RUNS, SEEDS, TEST, figures_of
from card_sections import BUNDLED, SCORES, classifier_text, section
from safetensors.torch import load_file

from medvision.checkpoint import WEIGHTS, load_spec, save_model
from medvision.plan_file import PLAN, read_plan
from medvision.run_card import package_versions
from medvision.scores import read_scores, write_scores

PNEUMONIA = """\
**Takes** one chest X-ray from the front, of a child, gray, lungs bright on dark as usual, as PNG,
JPEG or DICOM. It is cut to its middle square and looked at in {side} × {side} pixels: no more than
a thumbnail.

**Says** how likely it is `normal` or `pneumonia`, nothing else: any picture at all gets one of the
two. Pictures of another size or brightness than the training data get a warning, which is no
guarantee: a hand, a CT slice or a photo of 28 × 28 pixels may pass without one.

**Trained on** the {cases} training images of PneumoniaMNIST (MedMNIST v2), made from Kermany et
al., Cell 2018: children of one to five years, Guangzhou Women and Children's Medical Center.
Adults, other hospitals and other diseases were not seen.

**License of these weights**: CC BY 4.0, as the data (Yang et al., Scientific Data 2023).

**Good for** trying out medvision, teaching, and as a start for training (`--start-from`). Not for
any decision about a patient.
"""
ADRENAL = """\
**Takes** the shape of one adrenal gland, not a CT: a mask as NIfTI, 0 outside and 255 inside (a
mask of 0 and 1 looks empty to it, and is warned about). It is looked at in a window of {side} ×
{side} × {side} voxels of {mm:.3g} mm around the middle of the volume (64 mm), where the gland
should lie; a scan's mask can be shown in part with `--box`. It was trained on voxels of that
size; finer ones are averaged to them, and get a warning.

**Says** how likely it is `normal` or `hyperplasia`, nothing else: any shape at all gets one of the
two. Gray images and other sizes get a warning, which is no guarantee.

**Trained on** the {cases} training shapes of AdrenalMNIST3D (MedMNIST v2): left and right glands
segmented in CT at Zhongshan Hospital, Fudan University, Shanghai. How their axes lie in the patient
is not published, so that orientation means nothing here; other hospitals were not seen, nor masks
drawn by other rules: a mask that is a voxel thicker changes the answer.

**License of these weights**: CC BY 4.0, as the data (Yang et al., Scientific Data 2023).

**Good for** trying out medvision, teaching, and as a start for training (`--start-from`). Not for
any decision about a patient.
"""


def bundle(key: str, name: str, about: str) -> None:
    """Write the model folder of one row."""
    outs = [RUNS / key / f"seed{seed}" for seed in SEEDS]
    validated = [figures_of(out / "metrics.csv")[0] for out in outs]
    best = int(np.argmax(validated))
    out, spec = outs[best], load_spec(outs[best] / "model")
    weights, plan = load_file(out / "model" / WEIGHTS), read_plan(out / PLAN)
    scores = read_scores(write_scores(read_scores(out / TEST), SCORES / f"{name}.csv"))
    others = ", ".join(f"{a:.3f} / {b:.3f}" for a, b in (figures_of(o / TEST) for o in outs))
    cases = spec.fingerprint.cases if spec.fingerprint else 0
    mm = spec.spacing[0] if spec.spacing else 0.0
    text = about.format(side=spec.roi_size[0], mm=mm, cases=f"{cases:,}")
    parameters = sum(value.numel() for value in weights.values())
    settings = json.dumps({**json.loads(plan.to_json())["train"]})
    card = f"""\
# {name}

Research use only, not a medical device.

{text}
## How good

{section(classifier_text(scores))}

All seeds, AUC / accuracy: {others};
this is the one with the best AUC on the validation split, {validated[best]:.3f}.
Beside published figures: benchmarks/accuracy.md.

## How made

{spec.architecture}, {parameters:,} weights. Settings: {settings}

{", ".join(f"{k} {v}" for k, v in package_versions().items())}

    python benchmarks/accuracy.py --adrenal adrenalmnist3d_64.npz --pneumonia pneumoniamnist.npz
    python benchmarks/bundle_classifiers.py
"""
    save_model(BUNDLED / name, replace(spec, name=name), weights, card)
    print(f"Wrote {BUNDLED / name}")


if __name__ == "__main__":
    bundle("pneumonia-cnn", "pneumonia28", PNEUMONIA)
    bundle("adrenal28-cnn", "adrenal28", ADRENAL)
