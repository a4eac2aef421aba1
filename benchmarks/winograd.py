"""Would Winograd's convolution make the network faster on a CPU? A trial with torch's operators.

    OMP_WAIT_POLICY=passive python benchmarks/winograd.py

F(2, 3) along all three axes (Lavin & Gray, CVPR 2016) needs 3.4 times fewer multiplications than a
direct 3 × 3 × 3 convolution, but eight times the memory for what lies between. Times beside torch's
own convolution, contiguous and channels last, at three levels of a 96³ window; medians of seven.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LEVELS = ((64, 48), (128, 24), (256, 12))  # channels, voxels a side
ROUNDS = 7
FILTER = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


def tiles(image: Tensor, axis: int) -> Tensor:
    """Return the four transformed values of each pair of voxels along an axis, in front."""
    pairs = (image.shape[axis] - 2) // 2
    a, b, c, d = (image.narrow(axis, n, 2 * pairs - 1) for n in range(4))
    every = [slice(None)] * image.dim()
    every[axis] = slice(None, None, 2)
    a, b, c, d = (one[tuple(every)] for one in (a, b, c, d))
    return torch.stack((a - c, b + c, c - b, b - d))


def pairs_of(sums: Tensor, axis: int) -> Tensor:
    """Return the pairs that four sums (4, …) stand for, one after the other along an axis."""
    first, second = sums[0] + sums[1] + sums[2], sums[1] - sums[2] - sums[3]
    return torch.stack((first, second), axis + 1).flatten(axis, axis + 1)


def transformed(weights: Tensor) -> Tensor:
    """Return filters (N, C, 3, 3, 3) as (64, N, C), the last axis of the voxels first."""
    found = torch.einsum("ai,bj,ck,nmijk->cbanm", FILTER, FILTER, FILTER, weights)
    return found.flatten(0, 2).contiguous()


def winograd(image: Tensor, filters: Tensor) -> Tensor:
    """Convolve an image (1, C, I, J, K) of even sides by transformed filters."""
    seen = tiles(tiles(tiles(F.pad(image[0], (1,) * 6), 1), 3), 5)
    *_, i, j, k = seen.shape
    sums = torch.bmm(filters, seen.reshape(64, image.shape[1], i * j * k))
    told = sums.view(4, 4, 4, -1, i, j, k)
    return pairs_of(pairs_of(pairs_of(told, 5), 3), 1)[None]


def median_ms(way: Callable[[], Tensor]) -> float:
    """Return milliseconds, after one run that is not counted."""
    spent = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        way()
        spent.append(time.perf_counter() - began)
    return 1000 * statistics.median(spent[1:])


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    print("| channels, voxels | torch, ms | channels last, ms | Winograd, ms | largest error |")
    print("|---|---|---|---|---|")
    for channels, side in LEVELS:
        torch.manual_seed(0)
        image = torch.randn(1, channels, side, side, side)
        weights = torch.randn(channels, channels, 3, 3, 3) / (27 * channels) ** 0.5
        filters = transformed(weights)
        plain = F.conv3d(image, weights, padding=1)
        error = (winograd(image, filters) - plain).abs().max() / plain.abs().max()
        last = (one.to(memory_format=torch.channels_last_3d) for one in (image, weights))
        x, w = last
        ways = (
            lambda i=image, v=weights: F.conv3d(i, v, padding=1),
            lambda i=x, v=w: F.conv3d(i, v, padding=1),
            lambda i=image, v=filters: winograd(i, v),
        )
        cells = " | ".join(f"{median_ms(way):.0f}" for way in ways)
        print(f"| {channels}, {side}³ | {cells} | {error:.0e} |")


if __name__ == "__main__":
    main()
