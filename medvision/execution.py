"""A model's networks, made ready to run in the way that was asked for, or in the fastest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medvision.auto_runtime import Choice, choose_runtime
from medvision.consensus import Consensus, Member
from medvision.errors import MedvisionError, SpecError
from medvision.runtime import EAGER, PRECISIONS, Runtime, prepare_runtime
from medvision.spec import ModelSpec

AUTO = "auto"
WAY = (
    "runtime", "precision", "runtime_asked", "runtime_judged_on", "runtime_absent",
    "runtime_found_earlier", "candidates",
)  # fmt: skip


class Execution:
    """How the networks of a model are executed.

    Parameters
    ----------
    networks : sequence of nn.Module
        The members, in eval mode and on the device.
    spec : ModelSpec
    device : torch.device
    runtime : str
        A name of `medvision.runtime`, or ``"auto"``: the fastest here that changes no mask, found
        with the first scan. Models that read reports run on ``"torch"`` alone.
    mirror : sequence of int
        Axes along which windows are mirrored, to ask again.
    key : str
        The model's hash, under which what ``"auto"`` finds is kept; empty keeps nothing.
    show : bool
        Whether what ``"auto"`` finds is said on standard error.

    Raises
    ------
    SpecError, MissingExtra
        When the runtime does not fit, or is not installed.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        spec: ModelSpec,
        device: torch.device,
        runtime: str = EAGER,
        mirror: Sequence[int] = (),
        key: str = "",
        show: bool = True,
    ) -> None:
        self.show = show
        self.networks, self.spec, self.device = networks, spec, device
        self.mirror, self.key, self.asked = mirror, key, runtime
        self.choice: Choice | None = None
        self.before: dict[str, Any] = {}  # what was chosen in an earlier run
        self.ready: Consensus | None = None
        if runtime != AUTO or spec.text is not None:
            self.ready = self.run_on(EAGER if runtime == AUTO else runtime)

    def consensus(self, image: Tensor) -> Consensus:
        """Return what asks the networks; ``"auto"`` is decided by the image (C, I, J, K)."""
        return self.ready or self.judge(image, "the first scan")

    def judge(self, image: Tensor, seen: str) -> Consensus:
        """Find the fastest runtime that changes no mask of an image (C, I, J, K), and take it.

        `seen` says what image it is.
        """
        self.choice = choose_runtime(
            self.networks,
            self.spec,
            self.device,
            image,
            seen=seen,
            model=self.key,
            show=self.show,
        )
        self.ready = self.run_on(self.choice.name)
        return self.ready

    def take(self, record: Mapping[str, Any]) -> None:
        """Take what ``"auto"`` chose before, as `record` told; nothing where it does not fit."""
        try:
            self.ready = self.run_on(str(record["runtime"]))
        except MedvisionError:
            return
        self.before = {name: record[name] for name in WAY if name in record}

    def run_on(self, runtime: str) -> Consensus:
        """Make all networks ready to run in one way."""
        members: Sequence[Member] = self.networks
        if self.spec.text is None:
            members = [
                prepare_runtime(one, self.spec, self.device, runtime) for one in self.networks
            ]
        elif runtime != EAGER:
            raise SpecError(f"{self.spec.name} reads reports, and runs on torch alone.")
        return Consensus(members, self.spec, self.mirror)

    def record(self) -> dict[str, Any]:
        """Return what a run card says of it; of networks that are ready, what they really are."""
        if self.before:
            return self.before
        name = self.asked if self.ready is None or self.asked != AUTO else EAGER
        said = {"runtime": name, "precision": PRECISIONS.get(name, "")}
        if self.choice is not None:
            said = self.choice.record()
        member = self.ready.members[0] if self.ready is not None else None
        if isinstance(member, Runtime):
            said |= {"runtime": member.name, "precision": member.precision}
        return said
