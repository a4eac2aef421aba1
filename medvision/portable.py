"""A model as one portable folder, for programs without torch or medvision: OpenVINO IR or ONNX.

The folder says what goes in and what comes out, brings one window with torch's own answer, and
is a model folder of medvision, too.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from medvision import __version__
from medvision.auto_runtime import CHECK_CASE, check_case
from medvision.checkpoint import CARD, SPEC, load_model, load_spec, model_hash
from medvision.errors import OutputError, SpecError, require_extra
from medvision.exported import PORTABLE, load_exported, read_about
from medvision.files import PART, atomic_path, sha256, write_text
from medvision.models.exported import ExportedNetwork
from medvision.models.network import finest, members_of
from medvision.openvino_model import convert, import_openvino, lines_of, plain_copy
from medvision.portable_text import readme
from medvision.spec import ModelSpec
from medvision.transforms import center_window, preprocess

FORMATS = {"openvino": "xml", "onnx": "onnx"}
PARITY, README = "parity.safetensors", "README.txt"
OPSET = 18
MAX_KEPT = 4_000_000  # logits of the parity test; of more, evenly spread ones are kept
MAX_ERROR = 1e-3  # of a logit, relative to the largest
MIN_AGREEMENT = 0.999  # share of voxels, or answers, with the same class
NOISE_SEED = 0


@dataclass(frozen=True)
class Parity:
    """How near the exported members are to torch, on the window that the folder brings.

    Parameters
    ----------
    errors : tuple of float
        Of each member: the largest difference of a logit, relative to the largest logit.
    agreements : tuple of float
        Of each member: the share of voxels with the same class.
    """

    errors: tuple[float, ...]
    agreements: tuple[float, ...]

    @property
    def passed(self) -> bool:
        """Whether all members are near enough; NaN is not."""
        near = all(error <= MAX_ERROR for error in self.errors)
        return near and all(share >= MIN_AGREEMENT for share in self.agreements)

    def text(self) -> str:
        """Return the numbers in words."""
        return (
            f"largest relative error {max(self.errors):.2g} (at most {MAX_ERROR:g}), same class "
            f"in {min(self.agreements):.4%} (at least {MIN_AGREEMENT:.1%}), {len(self.errors)} "
            f"network{'s' if len(self.errors) > 1 else ''}"
        )


def export_model(folder: Path, out: Path, form: str = "openvino") -> Parity:
    """Write a model folder as a portable one, and test it.

    Parameters
    ----------
    folder : Path
        As `medvision.checkpoint.load_model` reads it.
    out : Path
        A new or empty folder. It is written beside under another name, and gets this one when it
        has passed its test.
    form : {"openvino", "onnx"}
        ``member-1.xml`` with ``.bin``, or ``member-1.onnx``; one for each member.

    Raises
    ------
    SpecError
        When the format is unknown, the model reads reports, or it cannot be converted.
    OutputError
        When `out` holds something, or what was written does not pass its test: nothing is left.
    MissingExtra
        When a package is not installed.
    """
    if form not in FORMATS:
        raise SpecError(f"Unknown format {form!r}. Choose from: {', '.join(FORMATS)}.")
    require_extra("openvino", "export", "An exported model")
    if form == "onnx":
        require_extra("onnxscript", "export", "ONNX")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is not an empty folder: name a new one.")
    network, spec = load_model(folder)
    if spec.text is not None:
        raise SpecError(
            f"{spec.name} reads reports, whose words are split by medvision itself: such models "
            "are not exported yet. Those that take images alone are."
        )
    members = members_of(network)
    if any(isinstance(one, ExportedNetwork) for one in members):
        raise SpecError(f"{folder} is an exported model already.")
    with whole_folder(out) as part:
        write_model(members, spec, folder, part, form)
        parity = check_export(part)
        if not parity.passed:
            raise OutputError(f"What was exported does not say what torch says: {parity.text()}.")
    return parity


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder beside a new or empty one, which it becomes when the block succeeds."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.parent / f"{PART}{os.getpid()}-{out.name}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        if not out.exists():
            part.rename(out)
        else:  # it may be where somebody stands, or another disk
            for path in sorted(part.iterdir(), key=lambda path: path.name == PORTABLE):
                shutil.move(path, out / path.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_model(
    members: Sequence[nn.Module], spec: ModelSpec, folder: Path, out: Path, form: str
) -> None:
    """Write all files of an exported model; `folder` is what it is made of."""
    files = [f"member-{number}.{FORMATS[form]}" for number in range(1, len(members) + 1)]
    for member, file in zip(members, files, strict=True):
        write = write_openvino if form == "openvino" else write_onnx
        write(member, spec, out / file)
    write_parity(members, spec, folder, out / PARITY)
    write_text(out / SPEC, spec.to_json())
    card = folder / CARD
    write_text(out / CARD, card.read_text(encoding="utf-8") if card.is_file() else f"# {spec.name}")
    for beside in sorted(folder.glob(f"{CHECK_CASE.partition('.')[0]}.*")):
        (out / beside.name).write_bytes(beside.read_bytes())
    write_text(out / README, readme(spec, files, form))
    about = {
        "format": form,
        "files": files,
        "sha256": {path.name: sha256(path) for path in sorted(out.glob("member-*"))},
        "divisor": list(cast("Sequence[int]", members[0].divisor)),
        "model_sha256": model_hash(folder),
        "medvision": __version__,
    }
    write_text(out / PORTABLE, json.dumps(about, indent=2) + "\n")


def write_openvino(member: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Write one member as OpenVINO IR, weights in float32."""
    openvino = import_openvino()
    openvino.save_model(convert(member, spec), path, compress_to_fp16=False)


def write_onnx(member: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Write one member as ONNX, for any number of windows at once."""
    example = torch.zeros(2, spec.channels, *spec.roi_size)  # of one, torch would make a constant
    log = logging.getLogger("torch.onnx")
    before = log.level
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # about torch's own inside, as what it logs is
            log.setLevel(logging.ERROR)
            torch.onnx.export(
                plain_copy(member),
                (example,),
                path,
                input_names=["windows"],
                output_names=["logits"],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # its own kinds, from many places
        raise SpecError(f"ONNX cannot take {spec.architecture}: {lines_of(error)[0]}") from None
    finally:
        log.setLevel(before)


@torch.inference_mode()
def write_parity(members: Sequence[nn.Module], spec: ModelSpec, folder: Path, path: Path) -> None:
    """Write a window and what torch says of it, in float32."""
    window, source = parity_window(spec, folder)
    kept = {"window": window}
    for number, member in enumerate(members, start=1):
        kept[f"logits.{number}"] = thinned(finest(member(window)).float())
    with atomic_path(path) as part:
        save_file({name: one.contiguous() for name, one in kept.items()}, part, {"window": source})


def parity_window(spec: ModelSpec, folder: Path) -> tuple[Tensor, str]:
    """Return a window (1, C, I, J, K), and what it is: of the check case, or of noise."""
    scan = check_case(folder) if len(spec.inputs) == 1 else None
    if scan is not None:
        image = preprocess({spec.inputs[0].name: scan}, spec).tensor
        return center_window(image, spec.roi_size)[None].contiguous(), "check case"
    random = np.random.default_rng(NOISE_SEED)
    noise = random.standard_normal((1, spec.channels, *spec.roi_size), np.float32)
    return torch.from_numpy(noise), "noise"  # of mean 0 and variance 1, as scans are after scaling


def thinned(logits: Tensor) -> Tensor:
    """Return logits (1, N, …), of large ones every second or third voxel along each axis."""

    def every(step: int) -> Tensor:
        spatial: tuple[slice, ...] = (slice(None, None, step),) * (logits.ndim - 2)
        return logits[(slice(None), slice(None), *spatial)]

    return next(few for step in count(1) if (few := every(step)).numel() <= MAX_KEPT)


def check_export(folder: Path) -> Parity:
    """Ask the exported members again what torch said of the window in the folder.

    Raises
    ------
    SpecError
        When the folder is no exported model, or a file is missing or damaged.
    """
    about, spec = read_about(folder), load_spec(folder)
    path = folder / PARITY
    if not path.is_file():
        raise SpecError(f"{folder} cannot be tested: {PARITY} is missing.")
    try:
        with safe_open(path, "pt") as file:
            names = ["window", *(f"logits.{n + 1}" for n in range(len(about["files"])))]
            window, *truths = (file.get_tensor(name) for name in names)
    except SafetensorError as error:
        raise SpecError(f"{path} is damaged or not whole: {error}.") from None
    errors, agreements = [], []
    for truth, member in zip(truths, load_exported(folder), strict=True):
        found = thinned(member(window))
        if found.shape != truth.shape:
            raise SpecError(
                f"{folder} gives logits {tuple(found.shape)} where torch gave {tuple(truth.shape)}."
            )
        errors.append(float((found - truth).abs().max() / truth.abs().max()))
        agreements.append(agreement(found, truth, spec))
    return Parity(tuple(errors), tuple(agreements))


def agreement(found: Tensor, truth: Tensor, spec: ModelSpec) -> float:
    """Return the share of voxels, or answers, with the same class."""
    if spec.regions or spec.multilabel:
        same = (found > 0) == (truth > 0)
    else:
        same = found.argmax(dim=1) == truth.argmax(dim=1)
    return float(same.double().mean())
