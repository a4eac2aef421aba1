"""How a model is trained, as frozen data; what it is stands in `ModelSpec`.

Knows nothing of torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from medvision.errors import SpecError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class Augment:
    """How far random changes of the training images go; chances are per sample.

    Parameters
    ----------
    mirror : str
        World axes along which an image may be mirrored: any of R (left and right), A (back and
        front), S (foot and head), such as ``"R"`` or ``"RAS"``. Empty when sides are classes.
    flip : float
        Chance to mirror along each of them.
    rotate : float
        Degrees about each axis.
    scale : float
        Log-uniform between 1/(1+s) and 1+s, per axis.
    shear : float
    shift : float
        Of the window's side.
    warp : float
        Standard deviation in voxels at the control points of a smooth warp.
    still : float
        Chance that nothing but mirroring and shift happens to space.
    gamma, bias, level, blur, coarse, noise : float
        Chances of a change of contrast, of shading, of brightness, of sharpness, of resolution,
        and of noise.
    """

    mirror: str = "R"
    flip: float = 0.5
    rotate: float = 15.0
    scale: float = 0.15
    shear: float = 0.05
    shift: float = 0.1
    warp: float = 1.5
    still: float = 0.3
    gamma: float = 0.4
    bias: float = 0.4
    level: float = 0.4
    blur: float = 0.2
    coarse: float = 0.2
    noise: float = 0.2

    def __post_init__(self) -> None:
        shares = (self.flip, self.still, self.gamma, self.bias, self.level, self.blur)
        if not all(0 <= share <= 1 for share in (*shares, self.coarse, self.noise)):
            raise SpecError(f"Chances are shares of 1: {self}.")
        sizes = (self.rotate, self.scale, self.shear, self.shift, self.warp)
        if min(sizes) < 0:
            raise SpecError(f"rotate, scale, shear, shift and warp are sizes, 0 or above: {self}.")
        if set(self.mirror) - set("RAS"):
            raise SpecError(f"mirror names axes of R, A and S; found {self.mirror!r}.")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Parameters
    ----------
    steps : int
        Updates of the weights.
    batch_size : int
        Samples an update, over all processes and accumulated parts.
    accumulate : int
        Parts that a batch is shown in, one after the other, to save memory.
    learning_rate : float
        Peak of the (first) schedule.
    schedule : {"cosine", "poly"}
        How the rate falls to zero: along a cosine, or as ``(1 - t) ** 0.9`` (nnU-Net).
    cycles : int
        The schedule starts again with half the peak, this often in all.
    warmup : float
        Share of the steps in which the rate rises.
    weight_decay : float
    ema : float
        Decay of the averaged weights, per step; the average is the model. In the first steps it
        is less: see `medvision.train_state.averaging`.
    grad_clip : float
        Largest L2 norm of the gradient.
    layer_decay : float
        The rate of each stage of the encoder is this times that of the next deeper one; 1 gives
        all the same.
    freeze : int
        Stages of the encoder, from the image on, that stay as they are.
    foreground : float
        Share of the windows that are centered on a structure, each as often as the others
        (segmentation).
    class_weights : {"none", "balanced"}
        ``balanced`` weighs each class by the inverse of its frequency (classification).
    label_smoothing : float
        Share of the truth given to all classes alike (classification).
    augment : Augment
    eval_every : int
        Steps between looks at the validation cases.
    keep : {"last", "best"}
        Which averaged weights become the model: those of the last step, or those that did best
        on the validation cases.
    patience : int
        Looks without a better result after which training stops; 0 never. Needs ``best``.
    seed : int
    workers : int
        Processes that cut windows; 0 is right on few cores.
    memory_gb : float
        Preprocessed cases beyond this are kept on disk and mapped.
    precision : {"32-true", "bf16-mixed", "16-mixed"}
    """

    steps: int = 1000
    batch_size: int = 2
    accumulate: int = 1
    learning_rate: float = 4e-3
    schedule: Literal["cosine", "poly"] = "cosine"
    cycles: int = 1
    warmup: float = 0.1
    weight_decay: float = 1e-2
    ema: float = 0.99
    grad_clip: float = 5.0
    layer_decay: float = 1.0
    freeze: int = 0
    foreground: float = 0.5
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = 0.0
    augment: Augment = field(default_factory=Augment)
    eval_every: int = 250
    keep: Literal["last", "best"] = "last"
    patience: int = 0
    seed: int = 0
    workers: int = 0
    memory_gb: float = 4.0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        counts = (self.steps, self.batch_size, self.accumulate, self.cycles, self.eval_every)
        if min(counts) < 1 or min(self.freeze, self.patience, self.workers) < 0:
            raise SpecError(
                "steps, batch_size, accumulate, cycles and eval_every start at 1, freeze, "
                f"patience and workers at 0: {self}."
            )
        if self.batch_size % self.accumulate:
            raise SpecError(f"{self.batch_size} samples do not make {self.accumulate} equal parts.")
        if self.precision not in PRECISIONS:
            raise SpecError(
                f"Unknown precision {self.precision!r}. Choose from: {', '.join(PRECISIONS)}."
            )
        for name, known in (
            ("schedule", ("cosine", "poly")),
            ("class_weights", ("none", "balanced")),
            ("keep", ("last", "best")),
        ):
            if getattr(self, name) not in known:
                found = getattr(self, name)
                raise SpecError(f"Unknown {name} {found!r}. Choose from: {', '.join(known)}.")
        if self.patience and self.keep != "best":
            raise SpecError("patience stops at the best weights: it needs keep = best.")
        shares = (self.ema, self.warmup, self.label_smoothing)
        if not all(0 <= share < 1 for share in shares) or not 0 <= self.foreground <= 1:
            raise SpecError(f"ema, warmup, label_smoothing and foreground are shares of 1: {self}.")
        if not 0 < self.layer_decay <= 1 or self.learning_rate <= 0 or self.memory_gb <= 0:
            raise SpecError(
                f"layer_decay lies above 0 up to 1, learning_rate and memory_gb above 0: {self}."
            )
