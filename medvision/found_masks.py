"""The masks that an evaluated model found, in a folder that says which they are, and of what.

Knows nothing of models.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from medvision.dataset import Case
from medvision.errors import OutputError, SpecError
from medvision.files import sha256, write_text
from medvision.from_json import build_dataclass, parse_json
from medvision.outputs import check_name
from medvision.outputs.nifti import SUFFIXES, save_nifti
from medvision.volume import Volume

FOUND = "found"  # folder of masks
FOUND_CARD = "found.json"  # in it: what they are


@dataclass(frozen=True)
class FoundMasks:
    """What a folder of found masks says of itself.

    Parameters
    ----------
    class_names : tuple of str
        Label ``i + 1`` is ``class_names[i]``.
    masks : mapping of str to str
        The files that the evaluation wrote, by name: their SHA-256.
    """

    class_names: tuple[str, ...]
    masks: Mapping[str, str]


def read_found(folder: Path) -> FoundMasks | None:
    """Return what a folder of masks says of itself; None where it says nothing.

    Raises
    ------
    SpecError
        When what it says cannot be read.
    """
    path = folder / FOUND_CARD
    if not path.is_file():
        return None
    try:
        return build_dataclass(FoundMasks, parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, SpecError) as error:
        raise SpecError(
            f"{path} does not say what the masks beside it are, as `medvision evaluate` writes it: "
            f"{str(error).rstrip('.')}. Remove it, and name the classes."
        ) from None


@contextmanager
def keep_masks(
    cases: Sequence[Case], folder: Path, class_names: Sequence[str], others: Sequence[Path] = ()
) -> Iterator[Callable[[str, Volume], Path]]:
    """Yield what keeps the mask of a case in a folder, as ``<case_id>.nii.gz``.

    They come there when all are whole, in place of those that an earlier evaluation left; other
    files stay.

    Raises
    ------
    OutputError
        When the name of a case cannot name a file, the disk refuses, or a mask would replace a file
        of the table, one of `others`, which are still to be read, or one that no evaluation wrote
        or that has changed since.
    SpecError
        When what the folder says of earlier masks cannot be read.
    """
    for case in cases:
        check_name(case.case_id)
    earlier = read_found(folder)
    # a name with a folder in it would lead out of this one
    known_sums = dict(earlier.masks) if earlier else {}
    old = [folder / name for name in known_sums if is_mask(name)]
    new = [mask_path(folder, case.case_id) for case in cases]
    told = [path for case in cases for path in (*case.images.values(), case.mask) if path]
    known = {path.resolve() for path in (*told, *others)}
    for path in (*new, *old):
        if path.resolve() in known:
            raise OutputError(
                f"{path} is a file of the table, or of the masks to compare with: name another "
                "folder for the results."
            )
        if path.exists() and not (path.is_file() and sha256(path) == known_sums.get(path.name)):
            raise OutputError(
                f"{path} was not written by an evaluation, or has changed since: move it, or name "
                "another folder for the results."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror or error}.") from None
    with tempfile.TemporaryDirectory(prefix=".part-", dir=folder) as part:
        yield lambda case_id, mask: save_nifti(mask, mask_path(Path(part), case_id))
        try:
            put_in_place([Path(part) / path.name for path in new], folder, old, class_names)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror or error}.") from None


def put_in_place(
    made: Sequence[Path], folder: Path, old: Sequence[Path], class_names: Sequence[str]
) -> None:
    """Move masks into a folder, remove those of before, and say which they are."""
    sums = {path.name: sha256(path) for path in made}
    for path in made:
        path.replace(folder / path.name)
    for path in old:
        if path.name not in sums:
            path.unlink(missing_ok=True)
    card = asdict(FoundMasks(tuple(class_names), sums))
    write_text(folder / FOUND_CARD, json.dumps(card, indent=2) + "\n")


def is_mask(name: str) -> bool:
    """Tell whether a name is that of a mask in the folder itself."""
    return Path(name).name == name and name.endswith(SUFFIXES)


def mask_path(folder: Path, case_id: str) -> Path:
    """Return where the found mask of a case is kept."""
    return folder / f"{case_id}.nii.gz"
