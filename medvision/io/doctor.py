"""Problems and notes of series in plain words: what, why it matters, and what to do about it.

Knows what readers say, and reads nothing itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medvision.study import SeriesRef, StudyRef


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know of a study."""

    what: str
    why: str
    do: str


@dataclass(frozen=True)
class Remedy:
    """What to say of problems and notes that match a pattern."""

    pattern: str
    why: str
    do: str


REMEDIES = (
    Remedy(
        r"is not a readable|is not a picture that can be read",
        "It has a scan's name and holds something else: an interrupted copy, the error page of a "
        "download, another file that was renamed.",
        "Copy or download it again. A text editor shows what it is; if it is no scan, move it "
        "out of the folder.",
    ),
    Remedy(
        r"half of a pair|which is not beside it|voxels lie (in|\w+ in)|is Analyze 7\.5",
        "A .hdr and its .img belong together and keep their names; Analyze's do not say which "
        "side is the patient's right.",
        "Put both into one folder under one name, or convert the scan to .nii.gz with the program "
        "that wrote it.",
    ),
    Remedy(
        r"makes no sense|lacks a header field|axes can be read|numbers are needed",
        "The header holds what its format does not know, or what no scan has.",
        "Write the file again from the original, with another program.",
    ),
    Remedy(
        r"slice\(s\) missing",
        "The stack has a hole: what lies below it would be drawn too high, and volumes in ml would "
        "be wrong.",
        "Export the series again, whole. To go on without: convert with --resample, which fills "
        "the hole from its neighbors and says so.",
    ),
    Remedy(
        r"[Uu]neven|Slice gaps run",
        "One voxel size cannot describe slices at changing distances.",
        "Convert with --resample, which puts the slices on even steps; or export the series again.",
    ),
    Remedy(
        r"same image twice|lie where another lies|Repeated",
        "Which copy is meant cannot be known, and a slice counted twice stretches the scan.",
        "Delete the copies, or name a folder that holds one export alone.",
    ),
    Remedy(
        r"places have not|fewer images",
        "Some moments or directions lack a slice: the volumes over time are not whole.",
        "Export the series again, whole; delete the files of the unfinished volume to go on.",
    ),
    Remedy(
        r"differ in (size|direction|pixel spacing|position)|shift sideways",
        "These slices do not lie on one grid: often two scans, or a localizer, share a series.",
        "Move the odd files that are named to another folder.",
    ),
    Remedy(
        r"tilt",
        "The gantry was tilted: slices are stacked obliquely. The affine says so exactly, but some "
        "programs ignore it.",
        "Nothing, for medvision. For other programs: convert with --resample.",
    ),
    Remedy(
        r"left and right are a guess|says nothing of orientation|does not say where it lies",
        "The file does not say which side is the patient's right.",
        "Take sides from nothing that medvision says of this file; find the original, or compare "
        "with a scan of known sides.",
    ),
    Remedy(
        r"needs? .*(decoder|pylibjpeg|imagecodecs)|decoder",
        "The pixels are compressed in a way that needs another package.",
        "pip install 'medvision-toolkit[dicom]'",
    ),
    Remedy(
        r"cut short|is empty|truncat|damaged|ends at byte",
        "Part of the file is missing, as after an interrupted copy or a full disk.",
        "Copy or export the file again. To read the rest without it, move it out of the folder: "
        "then a slice may be missing.",
    ),
    Remedy(
        r"no DICOM file|without a DICOM header",
        "It is named as DICOM is, and is something else: perhaps a slice was overwritten.",
        "Open it in a text editor to see what it is; move it elsewhere when it is no slice.",
    ),
    Remedy(
        r"DICOMDIR names",
        "The medium's index lists files that were not copied.",
        "Copy the medium again, with all its folders.",
    ),
    Remedy(
        r"is encrypted",
        "Without the password nothing inside can be read.",
        "Unpack the zip with its password, and name the folder.",
    ),
    Remedy(
        r"\.zip.*(outside of it|holds a link|unpacks to more|twice)",
        "An honest archive of scans does not do this; it could write over other files or fill the "
        "disk.",
        "Ask where it comes from. If you trust it, unpack it yourself and name the folder.",
    ),
    Remedy(
        r"cannot be (opened|listed)|link to what is not here",
        "The file is locked, not permitted, or a link to what is not here.",
        "Check its permissions; for git-annex or datalad, run `datalad get` on it.",
    ),
    Remedy(
        r"sform and qform differ",
        "The file gives two places for itself; programs that use the other will disagree.",
        "Find out which is meant; the sform is what medvision and most programs use.",
    ),
    Remedy(
        r"at the detector",
        "Behind the detector's pixel size stands a magnification that is not known.",
        "Trust no length in mm without a calibration.",
    ),
    Remedy(
        r"unknown thickness",
        "With one slice, nothing says how thick it is: volumes in ml are a guess.",
        "Trust areas, not volumes.",
    ),
    Remedy(
        r"lacks its place",
        "Without positions, several images cannot be put in order.",
        "Name one file instead of the folder, or export the series again with its positions.",
    ),
    Remedy(
        r"is not a number|must be|claims|contradict|holds .* and",
        "An element of the header is not what the standard asks for, so the rest is not believed.",
        "Export the file again; a de-identification tool may have blanked too much.",
    ),
)
OTHER = Remedy(
    r"",
    "The reader decided this by itself, or could not go on.",
    "Read the line above; if it is no help, please report it, without patient data.",
)
LOCALIZER = re.compile(r"locali[sz]er|scout|survey|topogram|3[- ]?plane|\bloc\b", re.IGNORECASE)
DERIVED = re.compile(r"\bderived\b", re.IGNORECASE)


def diagnose(ref: StudyRef) -> list[Finding]:
    """Return what a person should know of a study before its results are believed.

    Parameters
    ----------
    ref : StudyRef
        As `find_studies` found it.

    Returns
    -------
    list of Finding
        Problems first; empty when there is nothing to say.
    """
    problems = [explained(one, one.problem) for one in ref.series if one.problem]
    notes = [explained(one, note) for one in ref.series for note in one.notes]
    return [*problems, *several(ref), *unscaled(ref), *not_for_measuring(ref), *notes]


def explained(one: SeriesRef, words: str) -> Finding:
    """Return what a reader's words mean."""
    remedy = next((r for r in REMEDIES if re.search(r.pattern, words)), OTHER)
    return Finding(f"Series {one.label}: {words}", remedy.why, remedy.do)


def several(ref: StudyRef) -> list[Finding]:
    """Tell that a series must be chosen, and how."""
    images = [one for one in ref.series if one.role == "image" and not one.problem]
    if len(images) < 2:
        return []
    labels = ", ".join(f"{one.label} ({one.description or one.modality})" for one in images[:8])
    return [
        Finding(
            f"{len(images)} series can be read: {labels}{', …' if len(images) > 8 else ''}.",
            "A model looks at one, and which is never guessed.",
            f"Name it by its label: --series {images[0].label}",
        )
    ]


def unscaled(ref: StudyRef) -> list[Finding]:
    """Tell of images without a voxel size."""
    labels = [one.label for one in ref.series if one.shape and not one.spacing]
    if not labels:
        return []
    return [
        Finding(
            f"No pixel spacing in series {', '.join(labels)}.",
            "Nothing can be told in mm or ml.",
            "Use the original DICOM, if there is one, or a model that needs no size.",
        )
    ]


def not_for_measuring(ref: StudyRef) -> list[Finding]:
    """Tell of scouts and derived images."""
    found = []
    for one in ref.series:
        if LOCALIZER.search(one.description):
            why = "A localizer is a few slices for planning: no model is made for it."
            found.append(
                Finding(
                    f"Series {one.label} looks like a localizer.", why, "Choose another series."
                )
            )
        elif DERIVED.search(one.description):
            why = "Derived images are computed from others; their values may mean something else."
            do = "Prefer the original series for measurements."
            found.append(Finding(f"Series {one.label} is derived.", why, do))
    return found
