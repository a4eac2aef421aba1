"""The frames of Enhanced CT, MR and PET images, by their functional groups.

PS3.3 C.7.6.16: what is not in a frame's own groups is in those that all frames share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medvision.errors import DecodeError
from medvision.io.dicom.elements import Elements, tag_of
from medvision.io.dicom.headers import Frame
from medvision.io.dicom.private import (
    PARTS,
    PHILIPS_B_NUMBER,
    PHILIPS_FRAME,
    PHILIPS_GRADIENT,
    PHILIPS_LABEL,
    PHILIPS_PHASE,
    PHILIPS_SCALE,
    PHILIPS_TIME,
    PHILIPS_VOLUME,
    diffusion_of,
    is_made_by,
    is_new_philips,
    three,
)
from medvision.io.dicom.rescale import rescale_of
from medvision.io.dicom.traits import mr_traits, step_of

PLACES = ("StackID", "InStackPositionNumber", "ImagePositionPatient")  # indices of where, not when


@dataclass(frozen=True)
class Dimensions:
    """How a file counts its frames (PS3.3 C.7.6.17)."""

    pointers: tuple[int, ...]  # what each index counts

    @property
    def place_first(self) -> bool:
        """Whether the index of the place comes before those that count volumes."""
        places = [n for n, tag in enumerate(self.pointers) if tag in place_tags()]
        return bool(places) and max(places) < len(self.pointers) - 1

    def volume_of(self, values: Sequence[float]) -> tuple[float, ...]:
        """Return the indices that count volumes, the slowest first."""
        if len(values) != len(self.pointers):
            return ()
        kept = [v for v, tag in zip(values, self.pointers, strict=True) if tag not in place_tags()]
        return tuple(reversed(kept)) if self.place_first else tuple(kept)


def place_tags() -> set[int]:
    """Return the tags that count places."""
    return {tag_of(name) for name in PLACES}


@dataclass(frozen=True)
class Groups:
    """The functional groups of one frame: its own, then those of all."""

    own: Elements
    shared: Sequence[Elements]

    def find(self, name: str | int) -> Elements:
        """Return the first item of a group; an empty one when it is absent."""
        for where in (self.own, *self.shared):
            items = where.items(name)
            if items:
                return items[0]
        return Elements(self.own.path)


def enhanced_frames(one: Frame, data: Elements, count: int) -> list[Frame]:
    """Return the frames of a file with functional groups, in the order in which they are stored.

    Parameters
    ----------
    one : Frame
        What the top level of the file says.

    Raises
    ------
    DecodeError
        When the groups are not those of the frames.
    """
    groups = data.items("PerFrameFunctionalGroupsSequence")
    if not groups and count == 1:
        groups = [Elements(data.path)]  # a single frame may leave all to the shared ones
    if len(groups) != count:
        raise DecodeError(f"{data.path} holds {count} frames and facts of {len(groups)}.")
    shared = data.items("SharedFunctionalGroupsSequence")
    indexed = data.items("DimensionIndexSequence")
    pointers = tuple(int(item.first("DimensionIndexPointer") or 0) for item in indexed)
    dimensions = Dimensions(pointers)
    maker = frame_of_philips if is_made_by(data, "philips") else frame_of_standard
    return [
        maker(
            enhanced_frame(one, n, Groups(group, shared), dimensions), data, Groups(group, shared)
        )
        for n, group in enumerate(groups)
    ]


def enhanced_frame(one: Frame, number: int, groups: Groups, dimensions: Dimensions) -> Frame:
    """Return one frame, as the standard has it."""
    measures, content = groups.find("PixelMeasuresSequence"), groups.find("FrameContentSequence")
    transform = groups.find("PixelValueTransformationSequence")
    counted = dimensions.volume_of(content.numbers("DimensionIndexValues") or ())
    volume = counted or tuple(
        content.first(name) or 0.0 for name in ("TemporalPositionIndex", "FrameAcquisitionNumber")
    )
    return replace(
        one,
        number=number,
        position=groups.find("PlanePositionSequence").numbers("ImagePositionPatient", 3)
        or one.position,
        cosines=groups.find("PlaneOrientationSequence").numbers("ImageOrientationPatient", 6)
        or one.cosines,
        pixel_spacing=measures.numbers("PixelSpacing", 2) or one.pixel_spacing,
        slice_step=step_of(measures) or one.slice_step,
        order=(one.order[0], *volume, number),
        volume=volume,
        rescale=rescale_of([transform, groups.own, *groups.shared]) or one.rescale,
        seconds=seconds_of(content, groups),
    )


def seconds_of(content: Elements, groups: Groups) -> float | None:
    """Return when a frame was taken, in seconds from a moment that its series has in common."""
    offset = content.first("TemporalPositionTimeOffset")  # s, PS3.3 C.7.6.16.2.2
    heart = groups.find("CardiacSynchronizationSequence").first("NominalCardiacTriggerDelayTime")
    return offset if offset is not None else None if heart is None else heart / 1000


def frame_of_standard(frame: Frame, data: Elements, groups: Groups) -> Frame:
    """Return a frame with what makes its contrast, by the standard (PS3.3 C.8.13)."""
    if frame.header.modality != "MR":
        return frame
    diffusion = groups.find("MRDiffusionSequence")
    direction = diffusion.items("DiffusionGradientDirectionSequence")
    vector = direction[0].numbers("DiffusionGradientOrientation", 3) if direction else None
    timing = groups.find("MRTimingAndRelatedParametersSequence")
    part = PARTS.get(groups.find("MRImageFrameTypeSequence").text("ComplexImageComponent"), "")
    traits = dict(frame.traits)
    found = mr_traits(
        part,
        groups.find("MREchoSequence").first("EffectiveEchoTime"),
        timing.first("RepetitionTime"),
        timing.first("FlipAngle"),
    )
    traits |= {name: words for name, words in found.items() if not words.startswith("no ")}
    if not part:
        traits["part"] = dict(frame.traits)["part"]
    b_value = diffusion.first("DiffusionBValue")
    if b_value is None and (vector or diffusion.text("DiffusionDirectionality") == "NONE"):
        b_value = 0.0
    return replace(
        frame,
        traits=tuple(traits.items()),
        b_value=frame.b_value if b_value is None else b_value,
        b_vector=three(vector) or frame.b_vector,
    )


def new_philips_volume(own: Elements, groups: Groups) -> tuple[float, ...]:
    """Return the numbers that count volumes in a Philips file from release 11 on, slowest first."""
    indices = groups.find("FrameContentSequence").numbers("DimensionIndexValues") or ()
    third, fourth = (*indices, 0.0, 0.0, 0.0, 0.0)[2:4]
    time = own.first("TemporalPositionIdentifier") or own.first(PHILIPS_TIME) or 0.0
    numbers = [own.first(tag) or 0.0 for tag in (PHILIPS_GRADIENT, PHILIPS_B_NUMBER)]
    label = own.text(PHILIPS_LABEL)
    kind = float(label.startswith("LABEL")) if label else third
    return (time, fourth, *numbers, kind, own.first(PHILIPS_PHASE) or 0.0)


def frame_of_philips(frame: Frame, data: Elements, groups: Groups) -> Frame:
    """Return a frame of a Philips file, which says more in a sequence of its own.

    From release 11 on, the dimension indices of a file may count in another order than the images
    were taken in: the numbers of phase, b-value, gradient and time count instead.
    """
    said, own = frame_of_standard(frame, data, groups), groups.find(PHILIPS_FRAME)
    if said.header.modality != "MR":
        return said
    volume = said.volume
    if is_new_philips(data):
        volume = new_philips_volume(own, groups)
    elif own.first(PHILIPS_VOLUME):
        volume = (own.first(PHILIPS_VOLUME) or 0.0,)
    b_value, direction = said.b_value, said.b_vector
    if b_value is None:
        b_value, direction = diffusion_of(own)
    return replace(
        said,
        order=(said.order[0], *volume, said.number),
        volume=volume,
        scale=own.first(PHILIPS_SCALE) if PHILIPS_SCALE in own else said.scale,
        b_value=b_value,
        b_vector=direction,
    )
