"""What reads bundles of MONAI: a suite by itself, for writing a bundle takes all of MONAI."""

from fuzzing.changes import read_tree
from fuzzing.models import foreign
from fuzzing.target import Target
from monai_zoo import spleen


def bundle(folder):
    """Return a small bundle as the zoo has them."""
    return [read_tree(spleen(folder / "spleen"))]


TARGETS = {"bundle": Target(bundle, (foreign,), 100)}
