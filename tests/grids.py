"""What a network's answer to a whole scan comes to on the scan's own grid."""

from medvision.collect import collect
from medvision.sliding import Block


def labels_of(logits, prepared, spec):
    """Labels of logits (N, I, J, K) that one window gave on the model's grid."""
    whole = tuple(slice(0, n) for n in prepared.grid.shape)
    return collect([Block(whole, logits.clone())], prepared, spec).labels
