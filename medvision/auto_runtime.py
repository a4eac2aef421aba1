"""Which runtime is the fastest here that gives the same masks as eager torch in float32.

Each is timed on windows of a real scan, and compared on them. What was found is kept beside the
user's other caches, and asked for again where nothing has changed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medvision.agreement import compare, structures
from medvision.errors import MedvisionError, SpecError
from medvision.from_json import build_dataclass
from medvision.io import read_volume
from medvision.models.exported import ExportedNetwork
from medvision.openvino_model import lines_of
from medvision.progress import announce
from medvision.runtime import EAGER, PRECISIONS, Runtime, candidates, device_name, prepare_runtime
from medvision.runtime_cache import keep, kept
from medvision.sliding import PLANES
from medvision.spec import ModelSpec
from medvision.transforms import center_window
from medvision.volume import Volume

CHECK_CASE = "check.nii.gz"
VERSION = 2
MIN_DICE = 0.999  # of each structure, against eager
MAX_VOLUME = 0.005  # relative difference of its volume
MAX_SHARE = 0.01  # difference of a probability, where there is no structure to compare
WORTH = 0.05  # share of its time that eager must lose for another to take its place
ROUNDS = 3  # timings of each runtime, taking turns; the shortest counts
PATIENT_S = 20.0  # no further rounds once all have taken this long
LARGE = 0.5e9  # bytes of a window's logits; of larger ones a single window is looked at
NOT_FINITE = "its numbers are not finite"


@dataclass(frozen=True)
class Trial:
    """What came of one runtime.

    Parameters
    ----------
    name, precision : str
    seconds : float
        A window, at best.
    dice : float, optional
        The worst of the structures that eager finds; None where it finds none.
    volume : float, optional
        The largest relative difference of their volumes.
    share : float
        The largest difference of a probability, of structures that eager does not find, or of any
        class of a classification.
    problem : str
        Why it could not be run; empty when it could.
    """

    name: str
    precision: str
    seconds: float = 0.0
    dice: float | None = None
    volume: float | None = None
    share: float = 0.0
    problem: str = ""

    @property
    def agrees(self) -> bool:
        """Whether its masks are those of eager."""
        same = self.dice is None or (self.dice >= MIN_DICE and (self.volume or 0.0) <= MAX_VOLUME)
        return not self.problem and same and self.share <= MAX_SHARE


@dataclass(frozen=True)
class Choice:
    """The runtime that was chosen, and why.

    Parameters
    ----------
    name, precision : str
    trials : tuple of Trial
        Eager torch first.
    seen : str
        What it was judged on.
    absent : tuple of str
        Structures that eager did not find there.
    kept : bool
        Whether it was found earlier, and not now.
    """

    name: str
    precision: str
    trials: tuple[Trial, ...]
    seen: str
    absent: tuple[str, ...] = ()
    kept: bool = False

    def line(self) -> str:
        """Return one line: what was chosen, and what became of each."""
        words = []
        for one in self.trials:
            if one.name == EAGER:
                but = f" ({one.problem})" if one.problem else ""
                words.append(f"{one.name} {one.seconds:.3g} s{but}")
            elif one.problem:
                words.append(f"{one.name} failed")
            else:
                how = f"Dice {one.dice:.4f}" if one.dice is not None else f"differs {one.share:.1g}"
                no = "" if one.agrees else ": not the same"
                words.append(f"{one.name} {one.seconds:.3g} s ({how}{no})")
        if not words:
            return f"Runtime {self.name} ({self.seen})."
        kept = ", found earlier" if self.kept else ""
        return f"Runtime {self.name} (auto, on {self.seen}{kept}). A window: {', '.join(words)}."

    def record(self) -> dict[str, Any]:
        """Return what a run card says of it, as JSON values."""
        return {
            "runtime": self.name,
            "precision": self.precision,
            "runtime_asked": "auto",
            "runtime_judged_on": self.seen,
            "runtime_absent": list(self.absent),
            "runtime_found_earlier": self.kept,
            "candidates": [{**asdict(one), "agrees": one.agrees} for one in self.trials],
        }


def check_case(folder: Path) -> Volume | None:
    """Return the scan that a model folder brings to judge runtimes on; None without one."""
    path = folder / CHECK_CASE
    return read_volume(path) if path.is_file() else None


def choose_runtime(
    networks: Sequence[nn.Module],
    spec: ModelSpec,
    device: torch.device | str,
    image: Tensor,
    *,
    seen: str = "the check case",
    model: str = "",
    names: Sequence[str] = (),
    show: bool = True,
) -> Choice:
    """Time each runtime on windows of a scan, and choose the fastest that changes no mask.

    A runtime may be chosen when of each structure that eager torch finds the Dice is 0.999 or
    more and the volume within 0.5 %, and of each that it does not find no probability differs by
    more than 0.01; of a classification the latter alone. The first member of an ensemble is
    timed; where a runtime computes in less than float32, the others must agree, too.

    Parameters
    ----------
    networks : sequence of nn.Module
        The members, in eval mode and on the device.
    spec : ModelSpec
    device : torch.device or str
    image : Tensor
        A preprocessed scan (C, I, J, K).
    seen : str
        What the scan is, for the line and the record.
    model : str
        The model's hash: what is found is kept under it. Empty: nothing is kept.
    names : sequence of str
        The runtimes to try. Default: those worth it on this device.
    show : bool
        Whether a line on standard error says what was chosen.

    Raises
    ------
    SpecError
        When eager torch cannot run the model.
    """
    device = torch.device(device)
    if isinstance(networks[0], ExportedNetwork):  # there is nothing to choose from
        only = Choice("openvino", "float32", (), "an exported model")
        announce(only.line(), show)
        return only
    tried = list(dict.fromkeys([EAGER, *(names or candidates(spec, device))]))
    key = key_of(model, device, tried) if model else ""
    before = remembered(key)
    if before is None:
        choice = judge(networks, spec, device, image, tried, seen)
        if choice.trials[0].agrees and not choice.absent:  # else a better scan may come next
            remember(key, choice)
    else:
        choice = before
    announce(choice.line(), show)
    return choice


def judge(
    networks: Sequence[nn.Module],
    spec: ModelSpec,
    device: torch.device,
    image: Tensor,
    names: Sequence[str],
    seen: str,
) -> Choice:
    """Run each runtime, compare, and choose; eager torch where none agrees with it."""
    windows = windows_of(image.to(device), spec)
    try:
        bench = Bench(networks[0], spec, device, windows)
        trials = {name: bench.trial(name) for name in names if name != EAGER and bench.finite}
        first = bench.eager_trial()
    except (RuntimeError, MedvisionError) as error:
        raise SpecError(f"{spec.name} cannot be run by torch: {lines_of(error)[0]}") from None
    trials, best = {EAGER: first, **trials}, first
    for one in sorted((one for one in trials.values() if one.agrees), key=cost):
        best = one
        if one.precision != "float32":
            trials[one.name] = best = others_agree(networks[1:], spec, device, windows, one)
        if best.agrees:
            break
    absent = absent_of(bench.sizes, spec)
    return Choice(best.name, best.precision, tuple(trials.values()), seen, absent)


class Bench:
    """One network as eager torch runs it, and the windows that others are judged on.

    No more than one other runtime is there at a time, and no answer is kept.
    """

    def __init__(
        self, network: nn.Module, spec: ModelSpec, device: torch.device, windows: Sequence[Tensor]
    ) -> None:
        self.network, self.spec, self.device, self.windows = network, spec, device, windows
        self.eager = prepare_runtime(network, spec, device, EAGER)
        self.sizes, self.finite = structures(self.eager, windows, spec)
        self.times: list[float] = []  # of eager
        self.begun = time.perf_counter()

    def eager_trial(self) -> Trial:
        """Return what eager torch took, and found."""
        seconds = min(self.times or [self.time_of(self.eager)])
        trial = Trial(EAGER, self.eager.precision, seconds)
        if not self.finite:
            return replace(trial, problem=NOT_FINITE)
        return replace(trial, dice=1.0, volume=0.0) if self.sizes.any() else trial

    def trial(self, name: str, timed: bool = True) -> Trial:
        """Compare a runtime with eager torch, and time it."""
        trial = Trial(name, PRECISIONS.get(name, ""))
        if not self.finite:
            return replace(trial, problem=f"{EAGER}: {NOT_FINITE}")
        try:
            other = prepare_runtime(self.network, self.spec, self.device, name)
            found = compare(self.eager, other, self.windows, self.spec, self.sizes)
            seconds = self.take_turns(other) if timed else 0.0
        except (RuntimeError, MedvisionError) as error:  # also out of memory
            return replace(trial, problem=lines_of(error)[0])
        return replace(trial, precision=other.precision, seconds=seconds, **found)

    def take_turns(self, other: Runtime) -> float:
        """Return the least time of a window; what else the machine does falls on eager, too."""
        times: list[float] = []
        while len(times) < ROUNDS:
            late = time.perf_counter() - self.begun > PATIENT_S
            if late and times:
                break
            if not (late and self.times):
                self.times.append(self.time_of(self.eager))
            times.append(self.time_of(other))
        return min(times)

    def time_of(self, run: Runtime) -> float:
        """Return how long a runtime takes for a window."""
        start = time.perf_counter()
        for window in self.windows:
            said = run(window)
            said[(0,) * said.ndim].item()  # waits for a GPU
            del said
        return (time.perf_counter() - start) / sum(len(one) for one in self.windows)


def cost(trial: Trial) -> float:
    """Return what a runtime is ranked by: its time, eager torch favored a little."""
    return trial.seconds * (1 - WORTH if trial.name == EAGER else 1)


def windows_of(image: Tensor, spec: ModelSpec) -> list[Tensor]:
    """Return a few batches of windows (B, C, I, J, K) around the center of (C, I, J, K).

    In 3D the window at the center, and of a segmentation its neighbours along the longest axis;
    in 2D the planes next to the middle one. Of large answers the one at the center alone, or fewer
    planes.
    """
    bytes_each = 4 * spec.outputs * math.prod(spec.roi_size)
    center = center_window(image, spec.roi_size)[None]
    if spec.task == "classification":
        return [center]
    if spec.dims == 2:
        count = min(PLANES, image.shape[3], max(1, int(LARGE / bytes_each)))
        sides = (*spec.roi_size[:2], count)
        planes = center_window(image, sides)  # (C, I, J, planes)
        return [planes.permute(3, 0, 1, 2)[..., None].contiguous()]
    found = [center]
    if bytes_each > LARGE:
        return found
    slack = [n - side for n, side in zip(image.shape[1:], spec.roi_size, strict=True)]
    axis = slack.index(max(slack))
    for way in (-1, 1):
        step = min(spec.roi_size[axis] // 2, slack[axis] // 2)
        if step > 0:
            moved = image.roll(-way * step, dims=axis + 1)
            found.append(center_window(moved, spec.roi_size)[None])
    return found


def absent_of(sizes: Tensor, spec: ModelSpec) -> tuple[str, ...]:
    """Return the structures that eager torch does not find."""
    if spec.task == "classification":
        return ()
    painted = [label - 1 for label in spec.regions] or list(range(len(spec.class_names)))
    pairs = zip(painted, sizes.tolist(), strict=True)
    return tuple(spec.class_names[index] for index, size in pairs if not size)


def others_agree(
    networks: Sequence[nn.Module],
    spec: ModelSpec,
    device: torch.device,
    windows: Sequence[Tensor],
    best: Trial,
) -> Trial:
    """Return a trial that counts all members in, up to one that does not agree."""
    for network in networks:
        try:
            found = Bench(network, spec, device, windows).trial(best.name, timed=False)
        except (RuntimeError, MedvisionError) as error:
            found = Trial(best.name, best.precision, problem=lines_of(error)[0])
        worst = [one.dice for one in (best, found) if one.dice is not None]
        best = replace(
            best,
            dice=min(worst, default=None),
            volume=max(best.volume or 0.0, found.volume or 0.0) if worst else None,
            share=max(best.share, found.share),
            problem=found.problem,
        )
        if not best.agrees:
            break
    return best


def key_of(model: str, device: torch.device, names: Sequence[str]) -> str:
    """Return what a choice hangs on, as a hash."""
    about = [VERSION, model, device_name(device), torch.get_num_threads(), list(names)]
    for package in ("medvision-toolkit", "torch", "openvino"):
        try:
            about.append(version(package))
        except PackageNotFoundError:
            about.append("")
    return sha256(json.dumps(about).encode()).hexdigest()


def remembered(key: str) -> Choice | None:
    """Return what was found earlier; None when nothing was, or it cannot be read."""
    try:
        choice = build_dataclass(Choice, kept(key))
    except SpecError:
        return None
    return replace(choice, kept=True) if choice.name in PRECISIONS else None


def remember(key: str, choice: Choice) -> None:
    """Keep a choice under a key."""
    if key:
        keep(key, asdict(choice))
