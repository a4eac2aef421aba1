"""How much memory a prediction takes, told before it begins."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medvision.errors import MemoryNeeded
from medvision.room import available
from medvision.sliding import Keep, Windows, plan_windows
from medvision.spec import ModelSpec
from medvision.transforms import Grid, model_grid
from medvision.volume import Volume

GB = 1e9  # bytes
REORDERED = 1.5  # on processors, convolutions copy their maps into an order of their own
ROOM = 0.8  # of a GPU's free memory that sums may take
OTHER = 0.2 * GB  # of what is not counted one by one


@dataclass(frozen=True)
class Need:
    """Bytes that a prediction takes at its largest, part by part.

    Parameters
    ----------
    prepare : float
        The scan on its way to the model's grid.
    image : float
        The scan as the network takes it.
    network : float
        Maps inside the network, for the windows of one go, its answer among them.
    answers : float
        Its answers to these windows, and what is made of them.
    sums : float
        What is held of answers until no window to come shares it.
    slab : float
        Answers between two rows of windows, where they are interpolated.
    labels : float
        Labels, and what is mapped beside them.
    """

    prepare: float = 0.0
    image: float = 0.0
    network: float = 0.0
    answers: float = 0.0
    sums: float = 0.0
    slab: float = 0.0
    labels: float = 0.0

    @property
    def total(self) -> float:
        """Bytes on top of what the process holds already."""
        running = max(self.network, self.answers) + self.sums + self.slab
        return max(self.prepare, self.image + self.labels + running) + OTHER

    def __str__(self) -> str:
        parts = {name: value for name, value in vars(self).items() if value >= 0.05 * GB}
        return "".join(f"; {name} {value / GB:.1f}" for name, value in parts.items())


@dataclass(frozen=True)
class Load:
    """What a model puts on a machine for each scan.

    Parameters
    ----------
    spec : ModelSpec
    networks : sequence of nn.Module
    device : torch.device
    answers : int
        How many are averaged, of members and mirror images.
    batch : int
        Windows that are asked about at once.
    entropy : bool
        Whether it is mapped.
    """

    spec: ModelSpec
    networks: Sequence[nn.Module]
    device: torch.device
    answers: int = 1
    batch: int = 1
    entropy: bool = False

    def need(self, scan: Volume, keep: Keep = "full") -> Need:
        """Return what a scan takes, without the network; `keep`: see `medvision.sliding.slide`."""
        spec, outputs = self.spec, self.spec.outputs
        grid, exact = model_grid(scan, spec, self.device)
        windows = windows_of(spec, grid)
        outer, middle, inner = windows.kept()
        size = 4.0 if keep == "full" else 2.0
        # the network's answer, the mean of several, that of windows that show nothing; then its
        # probabilities where logits are interpolated
        nothing = 1.0 if keep == "full" else 0.5
        copies = (
            self.batch * (1 + 2 * (self.answers > 1)) + nothing + (spec.sampling.back == "logits")
        )
        rows = windows.roi[windows.order[0]] + 1
        plane = prod(windows.sides) // windows.sides[windows.order[0]]
        model, source = prod(windows.sides), prod(scan.shape)
        held = middle + (0 if keep == "disk" else outer)
        return Need(
            **self.image(scan, model, exact),
            answers=4.0 * copies * (outputs + 1) * prod(windows.roi),
            sums=(outputs + 1) * (size * held + 4.0 * inner),
            slab=0.0 if exact else 4.0 * outputs * rows * plane,
            labels=3.0 * source + model + (8.0 * (source + model) if self.entropy else 0),
        )

    def image(self, scan: Volume, voxels: int, exact: bool) -> dict[str, float]:
        """Return what a scan takes on its way to the model's grid, of some voxels, and on it."""
        whole, source = 4.0 * self.spec.channels, prod(scan.shape)
        return {"prepare": whole * (3 * source + voxels * (not exact)), "image": whole * voxels}

    @cached_property
    def network(self) -> float:
        """Return the most that the maps inside a network take in this machine's memory."""
        if self.device.type != "cpu":
            return 0.0
        window = torch.zeros(self.batch, self.spec.channels, *self.spec.roi_size)
        reports = () if self.spec.text is None else ([""] * self.batch,)
        return max(network_bytes(one, window, *reports) for one in self.networks)

    def home(self, grid: Grid, exact: bool) -> torch.device:
        """Return where sums are kept: on the GPU where there is room, else in memory.

        `grid` is the model's; `exact` says that the answer comes back without interpolation.
        """
        if self.device.type != "cuda":
            return self.device
        windows = windows_of(self.spec, grid)
        free, _ = torch.cuda.mem_get_info(self.device)
        model = prod(windows.sides)
        rows = windows.roi[windows.order[0]] + 1
        slab = 0 if exact else rows * model // windows.sides[windows.order[0]]
        held = sum(windows.kept()) + 4 * prod(windows.roi) + slab
        taken = 4.0 * (self.spec.outputs + 1) * held + (4.0 * self.entropy + 1) * model
        return self.device if taken < ROOM * free else torch.device("cpu")


def windows_of(spec: ModelSpec, grid: Grid) -> Windows:
    """Return where a model's window stops on a grid."""
    return plan_windows(grid.shape, spec.roi_size, spec.overlap, spec.sliding)


def way_to_keep(most: float | None, load: Load, scan: Volume, name: str) -> Keep:
    """Return how sums are to be kept so that a scan needs no more than `most` bytes.

    Without `most`, such that it fits into what the machine has left, if it can.

    Raises
    ------
    MemoryNeeded
        When it needs more than `most` whatever the way; it says how much.
    """
    ways: tuple[Keep, ...] = get_args(Keep)
    grid, exact = model_grid(scan, load.spec, load.device)
    if load.device.type == "cuda" and load.home(grid, exact).type == "cuda":
        return "full"
    if most is None:
        left = available()
        return next((keep for keep in ways if load.need(scan, keep).total <= left), ways[-1])
    held = resident()
    for keep in ways:
        need = replace(load.need(scan, keep), network=load.network)
        if held + need.total <= most:
            return keep
    raise too_much(name, held, need, most)


def check_window(most: float | None, load: Load, scan: Volume, name: str) -> None:
    """Refuse to classify a scan where it, and its one window, need more than `most` bytes.

    Raises
    ------
    MemoryNeeded
    """
    if most is None:
        return
    held, window = resident(), 4.0 * load.spec.channels * prod(load.spec.roi_size)
    grid, exact = model_grid(scan, load.spec, load.device)
    whole = load.image(scan, prod(grid.shape), exact)
    need = Need(**whole, answers=window, network=load.network)
    if held + need.total > most:
        raise too_much(name, held, need, most)


def too_much(name: str, held: float, need: Need, most: float) -> MemoryNeeded:
    """Return the error that says what a scan needs, and what there is."""
    return MemoryNeeded(
        f"{name} needs {(held + need.total) / GB:.1f} GB ({held / GB:.1f} are held already"
        f"{need}), and {most / GB:.1f} are allowed: allow more (--max-ram), or show the model a "
        "part (--box)."
    )


def resident() -> float:
    """Return the bytes that this process holds now; 0 where that is not known."""
    try:
        with open("/proc/self/statm") as file:
            return float(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):  # not Linux
        return 0.0


def network_bytes(network: nn.Module, windows: Tensor, *rest: Any) -> float:
    """Return the most that a network's maps take at a time, without running it.

    The last, its answer, is among them. 0 where it cannot be told.
    """
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fake, torch.no_grad(), Live() as live:
            network(fake.from_tensor(windows), *rest)
        return float(live.most * (REORDERED if windows.device.type == "cpu" else 1.0))
    except Exception:  # whatever a network does that cannot be followed
        return 0.0


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now, self.most = 0.0, 0.0
        self.seen: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and count what it makes."""
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, Tensor):
                self.count(one)
        return found

    def count(self, tensor: Tensor) -> None:
        """Count a tensor's storage once, until it ends."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, float(storage.nbytes())
        if key in self.seen:
            return
        self.seen.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.forget, key, size)

    def forget(self, key: int, size: float) -> None:
        """Take a storage out of the count."""
        self.seen.discard(key)
        self.now -= size
