"""Random changes of patches, intensity and space."""

import torch
from torch import Generator

from medvision.augment import random_intensity
from medvision.train_config import Augment


def test_coarse_images_stay_where_their_labels_are():
    """Sampled down and up again, a ramp is the same ramp: nothing has moved."""
    only = Augment(gamma=0, bias=0, level=0, blur=0, coarse=1.0, noise=0)
    ramp = torch.arange(40.0).expand(1, 36, 38, 40)
    moved = [
        (random_intensity(ramp, Generator().manual_seed(n), only) - ramp)[..., 8:32].mean()
        for n in range(20)
    ]
    assert max(abs(float(m)) for m in moved) < 0.01
