"""Networks by name, each built from one `ModelSpec`: an encoder, and what its task puts on top."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from medvision.errors import SpecError
from medvision.models.cnn import CNNEncoder
from medvision.models.decoder import Decoder
from medvision.models.encoder import Encoder
from medvision.models.joint import FilmSegmenter, FusionClassifier
from medvision.models.monai_encoders import (
    DenseNetEncoder,
    EfficientNetEncoder,
    ViTEncoder,
)
from medvision.models.monai_nets import build_monai, is_monai
from medvision.models.network import Classifier, Ensemble, Segmenter, one_by_one_heads
from medvision.models.resnet import ResNetEncoder
from medvision.models.segresnet import SegResNetEncoder, build_segresnet
from medvision.models.swin_unetr import SwinEncoder, build_swin_unetr
from medvision.models.text_encoders import build_text_encoder
from medvision.models.unet import ResidualEncoder, UNetEncoder
from medvision.spec import ModelSpec
from medvision.text_spec import TextSpec


def build_segmenter(
    encoder: Encoder,
    in_channels: int,
    outputs: int,
    *,
    decoder_convs: int | Sequence[int] = 2,
    deep_supervision: bool = True,
    widest: int | None = 256,
) -> Segmenter:
    """Put a U-Net's decoder and 1×1 heads on an encoder."""
    dims = len(encoder.strides[0])
    decoder = Decoder(
        dims,
        in_channels,
        encoder.channels,
        encoder.strides,
        decoder_convs,
        widest,
        kernels=encoder.kernels,
    )
    heads = one_by_one_heads(dims, decoder.channels, outputs, deep_supervision)
    return Segmenter(encoder, decoder, heads)


def build_classifier(
    encoder: Encoder, in_channels: int, outputs: int, *, dropout: float = 0.0
) -> Classifier:
    """Put mean pooling and a linear head on an encoder."""
    return Classifier(encoder, outputs, dropout)


def build_fusion(
    encoder: Encoder,
    in_channels: int,
    outputs: int,
    text: TextSpec,
    *,
    dropout: float = 0.1,
    fusion_width: int = 128,
) -> FusionClassifier:
    """Put a text encoder and a fusion head beside an encoder."""
    return FusionClassifier(
        encoder,
        build_text_encoder(text),
        outputs,
        text.fusion,
        text.modality_dropout,
        fusion_width,
        dropout,
    )


@dataclass(frozen=True)
class Architecture:
    """A network by name: its keyword-only arguments are the settings of `ModelSpec.network`.

    Parameters
    ----------
    dims : 2 or 3
    encoder : callable
        ``(dims, in_channels, *, …)`` → Encoder; with `sized`, ``(dims, in_channels, image_size,
        *, …)``.
    segmenter : callable
        ``(encoder, in_channels, outputs, *, …)`` → Segmenter.
    sized : bool
        Whether the encoder is made for images of one size.
    """

    dims: int
    encoder: Callable[..., Encoder]
    segmenter: Callable[..., nn.Module] = build_segmenter
    sized: bool = False


_unet_segmenter = partial(build_segmenter, widest=None)
_resunet_segmenter = partial(build_segmenter, widest=None, decoder_convs=1)

MODELS: dict[str, Architecture] = {
    "cnn2d": Architecture(2, CNNEncoder),
    "cnn3d": Architecture(3, CNNEncoder),
    "resnet18_2d": Architecture(2, partial(ResNetEncoder, depth=18)),
    "resnet34_2d": Architecture(2, partial(ResNetEncoder, depth=34)),
    "resnet50_2d": Architecture(2, partial(ResNetEncoder, depth=50)),
    "resnet101_2d": Architecture(2, partial(ResNetEncoder, depth=101)),
    "resnet10_3d": Architecture(3, partial(ResNetEncoder, depth=10)),
    "resnet18_3d": Architecture(3, partial(ResNetEncoder, depth=18)),
    "resnet34_3d": Architecture(3, partial(ResNetEncoder, depth=34)),
    "resnet50_3d": Architecture(3, partial(ResNetEncoder, depth=50)),
    "resnet101_3d": Architecture(3, partial(ResNetEncoder, depth=101)),
    "resnet152_3d": Architecture(3, partial(ResNetEncoder, depth=152)),
    "resnet200_3d": Architecture(3, partial(ResNetEncoder, depth=200)),
    "densenet121_2d": Architecture(2, DenseNetEncoder),
    "densenet121_3d": Architecture(3, DenseNetEncoder),
    "efficientnet_b0_2d": Architecture(2, EfficientNetEncoder),
    "efficientnet_b0_3d": Architecture(3, EfficientNetEncoder),
    "vit2d": Architecture(2, ViTEncoder, sized=True),
    "vit3d": Architecture(3, ViTEncoder, sized=True),
    "unet2d": Architecture(2, UNetEncoder, _unet_segmenter),
    "unet3d": Architecture(3, UNetEncoder, _unet_segmenter),
    "resunet2d": Architecture(2, ResidualEncoder, _resunet_segmenter),
    "resunet3d": Architecture(3, ResidualEncoder, _resunet_segmenter),
    "segresnet2d": Architecture(2, SegResNetEncoder, build_segresnet),
    "segresnet3d": Architecture(3, SegResNetEncoder, build_segresnet),
    "swin_unetr2d": Architecture(2, SwinEncoder, build_swin_unetr),
    "swin_unetr3d": Architecture(3, SwinEncoder, build_swin_unetr),
}


def build_model(spec: ModelSpec) -> nn.Module:
    """Build the network that a spec names, with random weights.

    It takes images (B, C, I, J, K), K being 1 in 2D, and where the spec has a text also as many
    reports. It gives logits: (B, N, I, J, K), in training mode a list of them, finest first; or
    (B, N) of a classification, with reports in training mode a list of three: of both, of the
    image and of the report. With several members it is an `Ensemble` of that many.

    Raises
    ------
    SpecError
        When the name is unknown, or the network does not take its settings or its roi_size.
    """
    build = build_monai if is_monai(spec.architecture) else build_named
    return join_members([build(spec) for _ in range(spec.members)])


def join_members(members: Sequence[nn.Module]) -> nn.Module:
    """Return the one member, or an `Ensemble` of them."""
    return members[0] if len(members) == 1 else Ensemble(members)


def build_named(spec: ModelSpec) -> nn.Module:
    """Build one member of a spec whose architecture is one of `MODELS`."""
    return build_one(spec, find_architecture(spec))


def find_architecture(spec: ModelSpec) -> Architecture:
    """Return what a spec names; a `SpecError` when there is none, or its dims do not fit."""
    if spec.architecture not in MODELS:
        raise SpecError(f"Unknown model {spec.architecture!r}. Choose from: {', '.join(MODELS)}.")
    architecture = MODELS[spec.architecture]
    if architecture.dims != spec.dims:
        window = "one slice (third side 1)" if architecture.dims == 2 else "a third side above 1"
        fitting = ", ".join(name for name, one in MODELS.items() if one.dims == spec.dims)
        raise SpecError(
            f"{spec.architecture} is {architecture.dims}D and needs a roi_size of {window}; found "
            f"{spec.roi_size}, which fits: {fitting}."
        )
    return architecture


def build_one(spec: ModelSpec, architecture: Architecture) -> nn.Module:
    """Build one member; a `SpecError` when settings or roi_size do not fit."""
    on_top = architecture.segmenter if spec.task == "segmentation" else build_classifier
    if spec.text and spec.task == "classification":
        on_top = partial(build_fusion, text=spec.text)
    for_encoder, for_top = settings_of(architecture.encoder), settings_of(on_top)
    strange = sorted(set(spec.network) - for_encoder - for_top)
    if strange:
        raise SpecError(
            f"{spec.architecture} does not take {', '.join(strange)} for a {spec.task}. It takes: "
            f"{', '.join(sorted(for_encoder | for_top))}."
        )
    size, channels = spec.roi_size[: architecture.dims], spec.channels
    given: dict[str, Any] = {"image_size": size} if architecture.sized else {}
    given |= {key: value for key, value in spec.network.items() if key in for_encoder}
    try:
        encoder = architecture.encoder(architecture.dims, channels, **given)
        check_size(encoder, size)
        top = {key: value for key, value in spec.network.items() if key in for_top}
        model = on_top(encoder, channels, spec.outputs, **top)
        if spec.text and isinstance(model, Segmenter):
            dropout = spec.text.modality_dropout[1]
            model = FilmSegmenter(model, build_text_encoder(spec.text), dropout)
        check_divisor(model, size)
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        raise SpecError(
            f"{spec.architecture} with {dict(spec.network)} for roi_size {spec.roi_size}: {error}."
        ) from None
    return model


def settings_of(builder: Callable[..., Any]) -> set[str]:
    """Return the names of a builder's keyword-only arguments: what a user may set."""
    known = inspect.signature(getattr(builder, "func", builder)).parameters.values()
    return {one.name for one in known if one.kind is one.KEYWORD_ONLY}


def check_size(encoder: Encoder, size: tuple[int, ...]) -> None:
    """Refuse an image whose deepest map would be one voxel, with nothing left to look at."""
    deepest = [math.ceil(side / one) for side, one in zip(size, encoder.strides[-1], strict=True)]
    short = any(side < least for side, least in zip(size, encoder.smallest, strict=True))
    if math.prod(deepest) < 2 or short:
        raise ValueError(
            f"the deepest map has a stride of {encoder.strides[-1]}, too much for that size; take "
            "fewer stages, a smaller stem or a larger roi_size"
        )


def check_divisor(model: nn.Module, size: tuple[int, ...]) -> None:
    """Refuse an image whose sides the network cannot halve evenly."""
    divisor: Any = model.divisor
    if any(side % one for side, one in zip(size, divisor, strict=True)):
        text = divisor[0] if len(set(divisor)) == 1 else divisor
        raise ValueError(f"its sides must divide by {text}")
