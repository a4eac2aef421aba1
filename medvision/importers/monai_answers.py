"""A bundle's post-processing: what its outputs mean, and what is done to a mask."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from medvision.cleanup_spec import Cleanup
from medvision.importers.monai_config import Opaque, Part, first
from medvision.importers.monai_intensity import base_name

NOTHING = {
    *("SaveImage", "EnsureType", "ToTensor", "CastToType", "Identity", "SqueezeDim", "CopyItems"),
    *("SelectItems", "DeleteItems", "ToDevice", "EnsureChannelFirst", "Decollate", "ToNumpy"),
    *("SaveClassification", "AsChannelLast", "DataStats"),
}
Meaning = Literal["", "one", "each"]  # unknown; one class a voxel; each channel yes or no


@dataclass
class Answers:
    """What a post-processing makes of the network's outputs.

    Parameters
    ----------
    meaning : {"", "one", "each"}
    back : {"probabilities", "logits"}
        Which are brought back to the scan.
    paint : list of int
        Channels in the order in which regions are painted, the last on top; empty when not said.
    labels : list of int
        What the bundle calls each of `paint` in its files.
    cleanup : dict of int to Cleanup
        By label; 0 stands for all labels.
    """

    meaning: Meaning = ""
    back: Literal["probabilities", "logits"] = "probabilities"
    paint: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    cleanup: dict[int, Cleanup] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Done:
    activated: str = ""
    discrete: bool = False
    inverted: bool = False


def translate_answers(parts: Sequence[Part], voxel_mm3: float | None) -> Answers:
    """Return what the transforms of a post-processing mean.

    Parameters
    ----------
    parts : sequence of Part
        In order.
    voxel_mm3 : float, optional
        Of a voxel of the model's grid.

    Raises
    ------
    SpecError
        Naming a transform that medvision has nothing for, or its argument, and the config.
    """
    answers, done = Answers(), _Done()
    for part in parts:
        keys = part.take("keys", "pred")
        if part.disabled or (keys and set(keys if isinstance(keys, list) else [keys]) <= {"label"}):
            continue
        if part.target.count(".") and not part.target.startswith("monai."):
            part.refuse(f"is code of the bundle's own, {part.target}, which is not run")
        part.ignore("allow_missing_keys", "meta_keys", "meta_key_postfix")
        match base_name(part.name):
            case "Activations":
                _activations(answers, done, part)
            case "AsDiscrete":
                _discrete(answers, done, part)
            case "Invert":
                _invert(answers, done, part)
            case "KeepLargestConnectedComponent":
                _largest(answers, part)
            case "FillHoles":
                part.want("connectivity", None, 1, 2, 3)
                _add(answers, part, Cleanup(fill=True))
            case "RemoveSmallObjects":
                _small(answers, done, part, voxel_mm3)
            case "Lambda":
                _function(answers, part)
            case name if name not in NOTHING:
                part.refuse("is a transform that medvision has nothing for")
    return answers


def _activations(answers: Answers, done: _Done, part: Part) -> None:
    soft, sigmoid = part.flag("softmax"), part.flag("sigmoid")
    part.want("other", None)
    part.ignore("kwargs")
    part.finish()
    if soft:
        done.activated, answers.meaning = "softmax", "one"
    if sigmoid:
        done.activated, answers.meaning = "sigmoid", "each"
    if done.inverted:
        answers.back = "logits"


def _discrete(answers: Answers, done: _Done, part: Part) -> None:
    argmax, threshold = part.flag("argmax"), part.number("threshold")
    part.ignore("to_onehot", "kwargs", "dim", "dtype")
    part.want("rounding", None)
    part.finish()
    if argmax:
        if done.activated == "sigmoid":
            part.refuse("takes the highest of several sigmoids, which medvision does not do")
        answers.meaning = "one"
        if done.inverted and not done.activated:
            answers.back = "logits"
    elif threshold is not None:
        middle = 0.5 if done.activated else 0.0
        if threshold != middle:
            part.refuse(
                f"has threshold {threshold}; medvision takes what is likelier than not, which here "
                f"would be {middle}"
            )
        if done.activated != "softmax":
            answers.meaning = "each"
    done.discrete = True


def _invert(answers: Answers, done: _Done, part: Part) -> None:
    if done.discrete:
        nearest = part.flag("nearest_interp", True)
        answers.notes.append(
            "The bundle brings finished labels back to the scan, "
            f"{'by the nearest voxel' if nearest else 'and interpolates between them'}; here "
            "probabilities are interpolated, and labels decided on the scan's own grid."
        )
    elif part.flag("nearest_interp", True):
        answers.notes.append(
            "The bundle brings its answer back to the scan by the nearest voxel; here it is "
            "interpolated."
        )
    done.inverted = True


def _labels(part: Part) -> list[int]:
    """Return the labels that a transform is for; [0] for all of them."""
    labels = part.take("applied_labels")
    if labels is None:
        return [0]
    found = labels if isinstance(labels, list) else [labels]
    if not all(type(one) is int and one > 0 for one in found):
        part.refuse(f"has applied_labels {labels!r}, which are no labels above 0")
    return list(found)


def _add(answers: Answers, part: Part, step: Cleanup) -> None:
    labels = _labels(part)
    part.finish()
    for label in labels:
        answers.cleanup[label] = joined(answers.cleanup.get(label, Cleanup()), step)


def joined(one: Cleanup, other: Cleanup) -> Cleanup:
    """Return what does both."""
    least = max(one.min_ml, other.min_ml)
    return Cleanup(one.largest or other.largest, least, "", one.fill or other.fill)


def _largest(answers: Answers, part: Part) -> None:
    if not part.flag("independent", True) and len(part.left.get("applied_labels") or [1]) != 1:
        part.refuse("keeps the largest piece of all labels together; medvision of each")
    part.want("num_components", 1)
    part.ignore("is_onehot")
    if (joined := part.number("connectivity")) not in (None, 3):
        answers.notes.append(
            f"The bundle's pieces have a connectivity of {joined:g}; here voxels that share a "
            "corner are one piece."
        )
    _add(answers, part, Cleanup(largest=True))


def _small(answers: Answers, done: _Done, part: Part, voxel_mm3: float | None) -> None:
    size, by_mm3 = part.number("min_size", 64) or 0.0, part.flag("by_measure")
    part.ignore("connectivity", "independent_channels", "pixdim")
    if not by_mm3:
        if voxel_mm3 is None or done.inverted:
            part.refuse("counts voxels of a size that differs from scan to scan; medvision mm³")
        size *= voxel_mm3
    _add(answers, part, Cleanup(min_ml=size / 1000))  # mm³ → ml


def _function(answers: Answers, part: Part) -> None:
    """Read the two functions whose meaning can be seen: background dropped, regions painted."""
    function = first(part.left.get("func"))
    text = function.text if isinstance(function, Opaque) else str(function)
    try:
        tree = ast.parse(text.removeprefix("$").strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.Constant(None)
    if not isinstance(tree, ast.Lambda) or len(tree.args.args) != 1 or len(text) > 2000:
        part.refuse(f"has func = {text!r}, which only code could tell")
    if ast.unparse(tree.body) == f"{tree.args.args[0].arg}[1:]":
        return
    painted = _painted(tree.body, tree.args.args[0].arg)
    if not painted:
        part.refuse(f"has func = {text!r}, which only code could tell")
    answers.paint = [channel for channel, _ in reversed(painted)]
    answers.labels = [label for _, label in reversed(painted)]


def _painted(tree: ast.expr, name: str) -> list[tuple[int, int]]:
    """Return (channel, label), the topmost first, of ``torch.where(x[[c]] > 0, label, …)``."""
    found = []
    while isinstance(tree, ast.Call) and ast.unparse(tree.func) in ("torch.where", "np.where"):
        match tree:
            case ast.Call(
                args=[
                    ast.Compare(
                        left=ast.Subscript(
                            value=ast.Name(id=known),
                            slice=ast.Constant(value=int(channel))
                            | ast.List(elts=[ast.Constant(value=int(channel))]),
                        ),
                        ops=[ast.Gt()],
                        comparators=[ast.Constant(value=0 | 0.5)],
                    ),
                    ast.Constant(value=int(label)),
                    tree,
                ],
                keywords=[],
            ) if known == name:
                found.append((channel, label))
            case _:
                return []
    ends = isinstance(tree, ast.Constant) and tree.value == 0
    return found if ends else []
