"""A MONAI bundle, folder or zip in the model zoo's layout, as a model of medvision.

None of its code is run: its config is read as data, its weights by torch's weights-only
unpickler. What cannot be said in a `ModelSpec` is an error that names it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from medvision.errors import SpecError
from medvision.importers.imported import Imported
from medvision.importers.monai_answers import translate_answers
from medvision.importers.monai_card import LICENSES, words, write_card
from medvision.importers.monai_config import Config, Opaque, Part, read_data
from medvision.importers.monai_intensity import Seen
from medvision.importers.monai_outputs import different, read_outputs
from medvision.importers.monai_steps import OWN_AXES, Steps, translate_steps
from medvision.importers.monai_weights import find_weights, read_weights
from medvision.importers.monai_window import read_window
from medvision.inference_spec import Sampling
from medvision.io.archive import (
    DAMAGED,
    Bounded,
    DirectoryTooLarge,
    check_upload,
    is_archive,
    unpacked,
)
from medvision.models.monai_nets import NETS, PREFIX, Net, find_net, settings_of_net
from medvision.spec import InputSpec, ModelSpec

METADATA = "configs/metadata.json"
CONFIGS = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "PET": "PT", "PT": "PT", "US": "US"}
STORED = {"brats": "LPS"}  # how the images of a known data set lie, where the config says nothing
PICTURE = "LIA"  # i to the right of the picture, j down
DIRECTORY = 10 << 20  # bytes of a zip's directory
GONE = {"SwinUNETR": ("img_size",)}  # arguments that MONAI has dropped, of no effect


def is_monai_bundle(path: Path) -> bool:
    """Tell whether a folder or zip has the layout of a MONAI bundle; nothing of it is unpacked."""
    try:
        if path.is_dir():
            return find_root(path) is not None
        if not (is_archive(path) and path.is_file()):
            return False
        with Bounded(path, DIRECTORY) as file, zipfile.ZipFile(file) as source:
            names = {name.replace("\\", "/") for name in source.namelist()}
    except (*DAMAGED, DirectoryTooLarge, OSError):
        return False
    tops = {name.removesuffix(METADATA) for name in names if name.endswith(METADATA)}
    return any(top + one in names for top in tops for one in CONFIGS if top.count("/") <= 1)


def monai_files(path: Path) -> list[Path]:
    """Return the files that a model is made of: a zip, or those of a bundle that are read."""
    root = find_root(path) if path.is_dir() else None
    if root is None:
        return [path]
    config = config_of(root)
    licenses = [root / name for name in LICENSES if (root / name).is_file()]
    weights = find_weights(root, Config(config, read_data(config)))
    return [root / METADATA, config, *licenses, weights]


def read_monai_bundle(path: Path) -> Imported:
    """Read a bundle.

    Parameters
    ----------
    path : Path
        A folder, or a zip, with ``configs/inference.json`` (or ``.yaml``),
        ``configs/metadata.json`` and ``models/model.pt``; perhaps in one folder more.

    Raises
    ------
    SpecError
        When something is missing, damaged or cannot be translated; the message names the
        transform or argument, and the config.
    DecodeError
        When a zip is damaged, leads outside or is too large.
    """
    if is_archive(path) and path.is_file():
        check_upload(path)
        with unpacked(path) as folder:
            return _read(folder, path.stem)
    return _read(path, path.resolve().name)


def find_root(folder: Path) -> Path | None:
    """Return where a bundle lies: the folder, or the one folder in it; None if nowhere."""
    inside = [one for one in folder.iterdir() if one.is_dir() and one.name != "__MACOSX"]
    for root in (folder, *(inside if len(inside) == 1 else [])):
        if (root / METADATA).is_file() and any((root / one).is_file() for one in CONFIGS):
            return root
    return None


def config_of(root: Path) -> Path:
    """Return the config of a bundle that has one."""
    return next(root / one for one in CONFIGS if (root / one).is_file())


@dataclass
class Bundle:
    """A bundle's config and metadata, and what its card must tell."""

    root: Path
    name: str
    config: Config
    metadata: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def format(self, side: str, name: str) -> dict[str, Any]:
        """Return what the metadata say of an input or output: the one named, or the first."""
        table: Any = self.metadata.get("network_data_format")
        table = table.get(side) if isinstance(table, Mapping) else None
        if not isinstance(table, Mapping) or not table:
            return {}
        found = table.get(name, next(iter(table.values())))
        return dict(found) if isinstance(found, Mapping) else {}

    def channels(self, side: str, name: str) -> list[str]:
        """Return the names of channels, in order; empty when they are not given."""
        table = self.format(side, name).get("channel_def")
        if not isinstance(table, Mapping) or not all(str(key).isdecimal() for key in table):
            return []
        ordered = sorted(table.items(), key=lambda item: int(item[0]))
        return [words(value) for _, value in ordered]

    @property
    def modality(self) -> str:
        """Return the DICOM modality of its images; empty for any."""
        return MODALITIES.get(words(self.format("inputs", "image").get("modality")).upper(), "")

    def section(self, names: Sequence[str], what: str) -> tuple[Any, str]:
        """Return the first of some settings that the config has, and its name."""
        for name in names:
            if name in self.config:
                return self.config.get(name), name
        raise SpecError(f"{self.config.path} has no {what}: none of {', '.join(names)}.")

    def transforms(self, names: Sequence[str], what: str) -> list[Part]:
        """Return the transforms of a Compose, or of a list."""
        value, where = self.section(names, what)
        return [Part(self.config.path, one, at) for one, at in self._flat(value, where)]

    def _flat(self, value: Any, where: str) -> list[tuple[Any, str]]:
        if isinstance(value, Mapping) and str(value.get("_target_", "")).endswith("Compose"):
            return self._flat(value.get("transforms", []), f"{where}::transforms")
        if isinstance(value, list):
            return [
                pair for n, one in enumerate(value) for pair in self._flat(one, f"{where}::{n}")
            ]
        return [(value, where)]


def _read(folder: Path, name: str) -> Imported:
    root = find_root(folder) if folder.is_dir() else None
    if root is None:
        raise SpecError(
            f"{folder} is no MONAI bundle: it needs {METADATA} and one of {', '.join(CONFIGS)}."
        )
    path = config_of(root)
    name = re.sub(r"_v\d[\w.]*$", "", name if root == folder else root.name)
    bundle = Bundle(root, name, Config(path, read_data(path)), read_data(root / METADATA))
    try:
        spec = ModelSpec.from_json(read_spec(bundle).to_json())  # as a model folder will hold it
    except (TypeError, ValueError) as error:
        raise SpecError(f"{path} holds more than text and numbers: {error}.") from None
    states = [read_weights(root, bundle.config, spec)]
    return Imported(spec, states, write_card(name, bundle.metadata, root, bundle.notes))


def read_spec(bundle: Bundle) -> ModelSpec:
    """Return what a bundle's config and metadata say."""
    short, net, settings = read_network(bundle)
    dims, count = settings["spatial_dims"], settings[net.channels]
    modality = bundle.modality
    color = count == 3 and is_color(bundle)
    inputs = 1 if color else count
    seen = [Seen(n, inputs, 3 if color else 1, modality == "CT") for n in range(inputs)]
    steps = translate_steps(
        bundle.transforms(("preprocessing", "pre_transforms"), "preprocessing"), seen
    )
    bundle.notes += steps.notes
    window = read_window(bundle.config, bundle.format("inputs", "image"), dims, steps, net.task)
    bundle.notes += window.notes
    picture = color or (net.task == "classification" and dims == 2 and steps.spacing is None)
    stretched = net.task == "classification" and steps.size and not steps.window
    spacing = None if stretched else voxel_size(bundle, steps)
    answers = translate_answers(
        bundle.transforms(("postprocessing", "post_transforms"), "postprocessing"),
        None if spacing is None else prod(spacing),
    )
    bundle.notes += answers.notes
    outputs = read_outputs(
        net.task,
        settings[net.outputs],
        bundle.channels("outputs", "pred"),
        answers,
        bundle.config.path,
    )
    bundle.notes += outputs.notes
    return ModelSpec(
        name=bundle.name,
        task=net.task,
        architecture=PREFIX + short,
        class_names=outputs.class_names,
        spacing=spacing,
        roi_size=window.roi_size,
        network=settings | outputs.settings,
        inputs=input_specs(bundle, steps, color),
        orientation=steps.orientation or lying(bundle, picture),
        max_obliquity=OWN_AXES,
        overlap=window.overlap,
        multilabel=outputs.multilabel,
        cleanup=outputs.cleanup,
        sampling=Sampling(
            order=steps.order,
            antialias=False,
            ends="centers",
            back=answers.back,
            crop="nonzero" if steps.crop else "",
            scale="before" if steps.early else "after",
        ),
        sliding=window.sliding,
        regions=outputs.regions,
    )


def read_network(bundle: Bundle) -> tuple[str, Net, dict[str, Any]]:
    """Return the network's name, what is known of it, and its settings as data."""
    path = bundle.config.path
    value: Any = None
    where = ""
    for where in ("network_def", "network", "net", "model"):
        if where in bundle.config:
            value = followed(bundle.config, where)
            break
    part = Part(path, value, where)
    found = find_net(part.target)
    if found is None:
        foreign = "." in part.target and not part.target.startswith("monai.")
        own = " It is code of the bundle's own, which is not run." if foreign else ""
        raise SpecError(
            f"{path}: {where} is {part.target}, which medvision does not know.{own} It knows: "
            f"{', '.join(NETS)}."
        )
    short, net = found
    part.ignore("pretrained", "progress", "save_attn", *GONE.get(short, ()))
    if "pos_embed" in part.left:  # its older name
        part.left["proj_type"] = part.left.pop("pos_embed")
    known = settings_of_net(net)
    if strange := sorted(set(part.left) - set(known)):
        part.refuse(f"has {', '.join(strange)}, which MONAI's {short} does not take")
    settings = {key: part.take(key) for key in list(part.left)}
    for key in ("spatial_dims", net.channels, net.outputs):
        settings.setdefault(key, known[key])
        if type(settings[key]) is not int:
            part.refuse(f"has no {key}")
    return short, net, settings


def followed(config: Config, name: str) -> Any:
    """Return a network's table, through ``$@network_def.to(@device)`` and its like."""
    value = config.get(name)
    for _ in range(5):
        text = value.text if isinstance(value, Opaque) else ""
        match = re.fullmatch(r"\$\s*@([\w#:]+)((\.(to|eval|cuda|float)\([^()]*\))*)\s*", text)
        if not match:
            break
        value = config.get(match[1])
    return value


def is_color(bundle: Bundle) -> bool:
    """Tell whether three channels are the colors of one picture."""
    shown = bundle.format("inputs", "image")
    names = [name.lower() for name in bundle.channels("inputs", "image")]
    letters = [name[:1] for name in names]
    return letters == ["r", "g", "b"] or "rgb" in words(shown.get("format")).lower()


def voxel_size(bundle: Bundle, steps: Steps) -> tuple[float, float, float]:
    """Return the voxel size of the model's grid, from Spacingd or from what the metadata say."""
    if steps.size and not steps.window:
        raise SpecError(
            f"{bundle.config.path}: Resized stretches scans to {steps.size}; medvision segments "
            "at a voxel size in mm."
        )
    if steps.spacing:
        return steps.spacing
    number = r"(\d+(?:\.\d+)?)"
    said = " ".join(words(bundle.metadata.get(key)) for key in ("image_classes", "description"))
    match = re.search(rf"{number}\s*[x×*]\s*{number}\s*[x×*]\s*{number}\s*mm", said)
    if match is None:
        raise SpecError(
            f"{bundle.config.path} has no Spacingd, and {METADATA} names no voxel size in mm: "
            "medvision must know which voxels the network was trained on."
        )
    one, two, three = (float(size) for size in match.groups())
    bundle.notes.append(
        f"The bundle shows the network voxels as they are stored; its metadata say {one:g} × "
        f"{two:g} × {three:g} mm, and scans are sampled to that."
    )
    return one, two, three


def lying(bundle: Bundle, picture: bool) -> str:
    """Return the orientation of a bundle whose config does not say any."""
    if picture:
        return PICTURE
    said = " ".join(words(bundle.metadata.get(k)) for k in ("data_source", "description")).lower()
    known = next((axes for data, axes in STORED.items() if data in said), "")
    bundle.notes.append(
        f"The bundle shows the network scans as they are stored; here they are turned to "
        f"{known}, as its training data lie."
        if known
        else "The bundle shows the network scans as they are stored; here they are turned to RAS, "
        "which nothing in it says."
    )
    return known or "RAS"


def input_specs(bundle: Bundle, steps: Steps, color: bool) -> tuple[InputSpec, ...]:
    """Return an input for each channel, or one of three colors, named by keys or metadata."""
    rules = [one.rule for one in steps.scales]
    if any(one.clipped for one in steps.scales):
        raise SpecError(
            f"{bundle.config.path}: ClipIntensityPercentilesd is the last scaling; medvision has "
            "no rule that clips a scan and leaves its values."
        )
    modality = bundle.modality
    count = len(rules)
    named = bundle.channels("inputs", "image")
    if len(steps.names) == count:
        named = steps.names
    elif len(named) != count or count == 1:
        named = ["image"] if count == 1 else [f"channel_{n}" for n in range(count)]
    names = different([re.sub(r"[^\w-]+", "_", name).strip("_") or "image" for name in named])
    return tuple(
        InputSpec(name, modality, channels=3 if color else 1, intensity=rule)
        for name, rule in zip(names, rules, strict=True)
    )
