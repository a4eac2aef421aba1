"""Indiana University chest X-rays with reports (Open-i): the two archives to cases.csv.

Source: https://openi.nlm.nih.gov (Demner-Fushman et al., JAMIA 2016), CC BY-NC-ND 4.0; no checksums
are published with the archives. The labels are those of ChestX-ray14 (Wang et al., CVPR 2017).
"""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET  # expat: no external entities; a DTD is refused below
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from medvision.dataset import write_cases
from medvision.errors import CasesError
from medvision.extras import dataset_builder

fetching = dataset_builder("fetch")
relative = dataset_builder("msd").relative

COLLECTIONS = "https://openi.nlm.nih.gov/imgs/collections"
PAGE = "https://openi.nlm.nih.gov/faq"
ARCHIVES = {"NLMCXR_png.tgz": "NLMCXR_png", "NLMCXR_reports.tgz": "ecgen-radiology"}
SECTIONS = ("INDICATION", "COMPARISON", "FINDINGS", "IMPRESSION")
NORMAL, OTHER = "No Finding", "Other Finding"
REST = "other"  # the label of all images but those with the one finding asked for
# How a MeSH term begins, in small letters, and the label it stands for.
LABELS = {
    "pulmonary atelectasis": "Atelectasis",
    "cardiomegaly": "Cardiomegaly",
    "cardiac shadow/enlarged": "Cardiomegaly",
    "consolidation": "Consolidation",
    "pulmonary edema": "Edema",
    "pleural effusion": "Effusion",
    "emphysema": "Emphysema",
    "bullous emphysema": "Emphysema",
    "pulmonary emphysema": "Emphysema",
    "pulmonary fibrosis": "Fibrosis",
    "hernia": "Hernia",
    "hernia, hiatal": "Hernia",
    "hernia, diaphragmatic": "Hernia",
    "infiltrate": "Infiltration",
    "mass": "Mass",
    "nodule": "Nodule",
    "thickening/pleura": "Pleural_Thickening",
    "pneumonia": "Pneumonia",
    "pneumothorax": "Pneumothorax",
}


@dataclass(frozen=True)
class Report:
    """What one file tells: the report's number, its text, its labels and its images' names."""

    uid: str
    text: str
    labels: tuple[str, ...]
    images: tuple[str, ...]


def download(folder: Path, mirror: str = COLLECTIONS) -> Path:
    """Fetch both archives from their source and unpack them into `folder`; returns it.

    Raises
    ------
    CasesError
        When the source cannot be reached, or an archive is damaged or unsafe.
    """
    for archive, inside in ARCHIVES.items():
        if not (folder / inside).is_dir():
            file = fetching.fetch(f"{mirror}/{archive}", folder / archive, "", PAGE)
            fetching.unpack(file, folder / inside)
    return folder


def build(folder: Path, out: Path, label: str = "") -> tuple[list[dict[str, str]], Counter[str]]:
    """Write a cases.csv with a row an image, frontal and lateral alike: the source tells no views.

    All images of one report share its text, its labels and its group: the source has one report a
    patient. The split, 70 : 10 : 20, is made from the report's number alone, so it stays the same.

    The labels are the terms that a person gave the report (MeSH, "major"): those that ChestX-ray14
    has, separated by "|"; ``No Finding`` for what is called normal; ``Other Finding`` for all else.

    Parameters
    ----------
    folder : Path
        Holds ``ecgen-radiology`` (the reports' XML) and, at any depth, the images as PNG.
    out : Path
        The cases.csv to write; its paths are relative to it where they can be.
    label : str
        One of the labels: images with it, alone or among others, have this label, all others have
        ``other``. Empty: every label.

    Returns
    -------
    rows : list of dict
    left_out : Counter
        Images, and reports without any, that are left out, by the reason.

    Raises
    ------
    CasesError
        When there are no reports, a report is damaged, none of the images is there, or none has
        the label.
    """
    names = sorted({*LABELS.values(), NORMAL, OTHER})
    if label and label not in names:
        raise CasesError(f"Unknown finding {label!r}. Choose from: {', '.join(names)}.")
    files = sorted((folder / "ecgen-radiology").glob("*.xml"))
    if not files:
        raise CasesError(
            f"{folder} has no ecgen-radiology/*.xml: unpack {' and '.join(ARCHIVES)} from {PAGE} "
            "there."
        )
    images = {path.stem: path for path in sorted(folder.rglob("*.png"))}
    rows, problems = [], []
    left_out: Counter[str] = Counter()
    for file in files:
        try:
            report = read_report(file)
        except CasesError as error:
            problems.append(str(error))
            continue
        if not report.images:
            left_out["reports without an image"] += 1
        elif not report.labels:
            left_out["images without a label"] += len(report.images)
        else:
            left_out["images that are not there"] += sum(i not in images for i in report.images)
            rows += [
                {
                    "case_id": image,
                    "image": relative(images[image], out.parent),
                    "label": label_cell(report.labels, label),
                    "report": report.text,
                    "split": split_of(report.uid),
                    "group": report.uid,
                }
                for image in report.images
                if image in images
            ]
    if problems:
        raise CasesError("\n".join(problems[:20]))
    if not rows:
        raise CasesError(f"{folder} has none of the images that its {len(files)} reports name.")
    if label and all(row["label"] != label for row in rows):
        raise CasesError(f"No image has the finding {label!r}. Choose from: {', '.join(names)}.")
    write_cases(out, rows)
    return rows, +left_out


def label_cell(labels: tuple[str, ...], wanted: str) -> str:
    """Return all labels, or whether the wanted one is among them."""
    if not wanted:
        return "|".join(labels)
    return wanted if wanted in labels else REST


def read_report(path: Path) -> Report:
    """Read one of the source's XML files.

    Raises
    ------
    CasesError
        When it is no XML in UTF-8, has a document type (entities could swell without end), or
        lacks its number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise CasesError(f"{path} has a document type: the source's reports have none.")
        root = ET.fromstring(text)
    except (UnicodeDecodeError, ET.ParseError, ValueError) as error:
        raise CasesError(f"{path} is damaged: {error}.") from None
    number = root.find("uId")
    uid = "" if number is None else number.get("id", "").strip()
    if not uid:
        raise CasesError(f"{path} is no report of this source: it has no uId.")
    said = {part.get("Label", ""): plain(part) for part in root.iter("AbstractText")}
    return Report(
        uid,
        "\n\n".join(f"{name}: {said[name]}" for name in SECTIONS if said.get(name)),
        labels_of([plain(term) for term in root.iterfind(".//MeSH/major")]),
        tuple(dict.fromkeys(i.get("id", "") for i in root.iter("parentImage") if i.get("id"))),
    )


def plain(element: ET.Element) -> str:
    """Return an element's text in one line."""
    return " ".join("".join(element.itertext()).split())


def labels_of(terms: list[str]) -> tuple[str, ...]:
    """Return the labels of MeSH terms such as ``Pleural Effusion/right/small``, in A–Z order."""
    terms = [term.lower() for term in terms if term and term.lower() != "no indexing"]
    found = {
        label
        for term in terms
        for start, label in LABELS.items()
        if f"{term}/".startswith(f"{start}/")
    }
    if found or not terms:
        return tuple(sorted(found))
    return (NORMAL,) if "normal" in terms else (OTHER,)


def split_of(uid: str) -> str:
    """Return train, val or test, by chance but always the same for one number."""
    share = int(hashlib.sha256(uid.encode()).hexdigest()[:8], 16) / 16**8
    return "train" if share < 0.7 else "val" if share < 0.8 else "test"
