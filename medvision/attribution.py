"""What each word of a report adds to an answer: integrated gradients over token embeddings.

Sundararajan et al., ICML 2017. Knows nothing of images beyond their tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from medvision.explanation import Word
from medvision.models.fusion import Fused
from medvision.models.huggingface import HuggingFaceEncoder
from medvision.models.joint import FusionClassifier
from medvision.models.network import Mean
from medvision.models.text import SmallTextEncoder, TextEncoder
from medvision.report_masking import MASK
from medvision.spec import ModelSpec

Span: TypeAlias = tuple[int, int]  # characters, from and to

NODES = (32, 128, 512)  # of the path, until the sum is what it should be
BATCH = 16  # nodes at a time
TOLERANCE = 0.01, 0.005  # that the sum may be off: share of all parts' sizes, and log odds
WORD = re.compile(rf"{re.escape(MASK)}|[\w'’]+(?:-[\w'’]+)*|[^\w\s]")


@dataclass(frozen=True)
class Reading:
    """What a report did to an answer.

    Attributes
    ----------
    words : tuple of Word
    odds : (float, float), optional
        Log odds with the words, and without what they say.
    gates : dict, optional
        How much of the vectors of ``image`` and ``report`` is let through.
    warnings : tuple of str
    """

    words: tuple[Word, ...] = ()
    odds: tuple[float, float] | None = None
    gates: dict[str, float] | None = None
    warnings: tuple[str, ...] = ()


def read_report(
    members: Sequence[FusionClassifier],
    images: Sequence[Tensor],
    report: str,
    spec: ModelSpec,
    number: int,
) -> Reading:
    """Tell what each word of a report adds to the log odds of a class.

    The path runs from embeddings of zero, which say that there is a word and where but not which,
    to the words'; tokens that stand for no word stay as they are. Several members are one network,
    the mean of their probabilities, with all their embeddings. Attributions sum to the difference
    of the log odds, to within 0.005 or 1 % of the sum of their sizes, or a warning says that they
    do not.

    Parameters
    ----------
    members : sequence of FusionClassifier
        Of the spec, in eval mode.
    images : sequence of Tensor, (1, S, D)
        The image's tokens, one set for each member.
    report : str
        As the model sees it; not empty.
    spec : ModelSpec
    number : int
        Of the class.
    """
    fused = [say(m, one, report) for m, one in zip(members, images, strict=True)]
    gates = mean_of([one.gates for one in fused])
    shares = None if gates is None else dict(zip(("image", "report"), gates.tolist(), strict=True))
    spans = spans_of(members[0].text_encoder, report)
    if spans is None:
        why = "this text encoder's tokenizer does not tell where its pieces lie: no word has a part"
        return Reading(words_of(report, [], [], None), None, shares, (why,))
    attention = mean_of([one.attention for one in fused])
    ends = [embedded(member.text_encoder, report) for member in members]  # (1, T, D) each
    told = torch.tensor([span is not None for span in spans], device=images[0].device)
    path = Path(members, images, ends, told[None, :, None], report, spec, number)
    odds = path.odds(1.0), path.odds(0.0)
    wanted, warnings = odds[0] - odds[1], []
    for nodes in NODES:
        parts = path.integrate(nodes)  # (T,)
        found = float(parts.sum())
        if abs(found - wanted) <= max(TOLERANCE[0] * float(parts.abs().sum()), TOLERANCE[1]):
            break
    else:
        warnings = [f"the words' parts sum to {found:.3f}, not to {wanted:.3f} log odds"]
    looks = None if attention is None else attention.tolist()
    return Reading(words_of(report, spans, parts.tolist(), looks), odds, shares, tuple(warnings))


@dataclass(frozen=True)
class Path:
    """The straight path of all members' embeddings, from words that say nothing to the report's."""

    members: Sequence[FusionClassifier]
    images: Sequence[Tensor]  # (1, S, D)
    ends: Sequence[Tensor]  # (1, T, D)
    told: Tensor  # (1, T, 1), whether a token is a piece of a word
    report: str
    spec: ModelSpec
    number: int

    def at(self, shares: Tensor) -> list[Tensor]:
        """Return each member's embeddings (N, T, D) at shares (N,) of the path, 0 to 1."""
        factors = torch.where(self.told, shares[:, None, None], 1.0)  # (N, T, 1)
        return [(factors * end).to(end.dtype).requires_grad_() for end in self.ends]

    def answers(self, places: Sequence[Tensor]) -> Tensor:
        """Return the log odds (N,) of the class, of embeddings (N, T, D) of each member."""
        logits = []
        for member, image, place in zip(self.members, self.images, places, strict=True):
            logits.append(say(member, image, self.report, place).logits)
        return log_odds(logits, self.number, self.spec.multilabel)

    def odds(self, share: float) -> float:
        """Return the log odds at one place of the path."""
        with torch.no_grad():
            return float(self.answers(self.at(torch.tensor([share], device=self.told.device))))

    def integrate(self, nodes: int) -> Tensor:
        """Return what each token adds (T,), by Gauss-Legendre quadrature along the path.

        Its nodes are denser near the start: while words are fainter than what says where they are,
        the answer changes fast.
        """
        where, weights = np.polynomial.legendre.leggauss(nodes)
        near = (where + 1) / 2  # the path's shares are the cubes of these
        shares, weights = near**3, 3 * near**2 * weights / 2
        device, total = self.told.device, torch.zeros(self.told.shape[1], dtype=torch.float64)
        for start in range(0, nodes, BATCH):
            here = slice(start, start + BATCH)
            share = torch.tensor(shares[here], dtype=torch.float32, device=device)
            weight = torch.tensor(weights[here], device=device)
            places = self.at(share)
            slopes = torch.autograd.grad(self.answers(places).sum(), places)
            for slope, end in zip(slopes, self.ends, strict=True):
                part = (slope * end * self.told).sum(dim=2).double()  # (N, T)
                total += (weight[:, None] * part).sum(dim=0).cpu()
        return total


def say(
    member: FusionClassifier, image: Tensor, report: str, vectors: Tensor | None = None
) -> Fused:
    """Return what the fusion head says of image tokens (1, S, D) and a report.

    With `vectors` (N, T, D) the report's pieces have these embeddings instead of their own, N times
    over.
    """
    encoder, count = member.text_encoder, 1 if vectors is None else len(vectors)
    handle = embeddings_of(encoder).register_forward_hook(
        lambda module, inputs, output: output if vectors is None else vectors
    )
    try:
        tokens, real = read_tokens(encoder, [report] * count)
    finally:
        handle.remove()
    return cast(Fused, member.head(image.expand(count, -1, -1), tokens, real))


def read_tokens(encoder: TextEncoder, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return tokens and which are real, of one text repeated; a frozen encoder has gradients too.

    What such an encoder remembers of earlier texts is neither used nor changed.
    """
    if not isinstance(encoder, HuggingFaceEncoder):
        return cast(tuple[Tensor, Tensor], encoder(texts))
    tokens, _ = encoder.encode(texts)
    real = torch.full(tokens.shape[:2], bool(texts[0]), device=tokens.device)
    return tokens, real


def embedded(encoder: TextEncoder, report: str) -> Tensor:
    """Return the embeddings (1, T, D) of a report's tokens."""
    found: list[Tensor] = []
    handle = embeddings_of(encoder).register_forward_hook(
        lambda module, inputs, output: found.append(output.detach())
    )
    try:
        with torch.no_grad():
            read_tokens(encoder, [report])
    finally:
        handle.remove()
    return found[0]


def embeddings_of(encoder: TextEncoder) -> nn.Module:
    """Return the module that turns numbers of pieces into vectors."""
    if isinstance(encoder, HuggingFaceEncoder):
        model: Any = encoder.model
        return cast(nn.Module, model.get_input_embeddings())
    return cast(SmallTextEncoder, encoder).words


def spans_of(encoder: TextEncoder, report: str) -> list[Span | None] | None:
    """Return which characters each token that is read stands for; None for those of no word.

    Where the tokenizer cannot tell, there is no list.
    """
    if not isinstance(encoder, HuggingFaceEncoder):
        small = cast(SmallTextEncoder, encoder)
        pieces = small.tokenizer.encode(report, add_special_tokens=False)
        return [None, *pieces.offsets[: small.max_tokens]]  # the first starts the text
    if not encoder.tokenizer.is_fast:
        return None
    batch = encoder.tokenizer(
        report,
        truncation=True,
        max_length=encoder.max_tokens,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    pairs = zip(batch["offset_mapping"], batch["special_tokens_mask"], strict=True)
    return [None if special else tuple(span) for span, special in pairs]


def words_of(
    text: str,
    spans: Sequence[Span | None],
    parts: Sequence[float],
    attention: Sequence[float] | None,
) -> tuple[Word, ...]:
    """Cut a text into words and punctuation, and give each the sum over its pieces."""
    found = list(WORD.finditer(text))
    starts = [match.start() for match in found]
    sums: dict[int, tuple[float, float]] = {}
    for token, span in enumerate(spans):
        if span is None or not text[span[0] : span[1]].strip():
            continue
        blank = len(text[span[0] : span[1]]) - len(text[span[0] : span[1]].lstrip())
        word = bisect_right(starts, span[0] + blank) - 1  # some begin with a blank
        part, look = sums.get(word, (0.0, 0.0))
        sums[word] = part + parts[token], look + (attention[token] if attention else 0.0)
    return tuple(
        Word(
            match.group(),
            match.start(),
            sums[i][0] if i in sums else None,
            sums[i][1] if i in sums and attention else None,
            match.group() == MASK,
        )
        for i, match in enumerate(found)
    )


def mean_of(rows: Sequence[Tensor | None]) -> Tensor | None:
    """Return the mean of what each member says (1, N), as (N,); None where they say nothing."""
    said = [row for row in rows if row is not None]
    return torch.cat(said).detach().mean(dim=0) if said else None


def log_odds(logits: Sequence[Tensor], number: int, multilabel: bool = False) -> Tensor:
    """Return log(p / (1 - p)) of a class, (B,), p being the mean over members of logits (B, N).

    With `multilabel` p is of the class by itself, else beside all others. Unlike a logit it does
    not change when a number is added to all of them, and unlike p it has a slope where the model
    is sure.
    """
    if multilabel:
        mean = Mean("sigmoid")
        for one in logits:
            mean.add(one.double())
        return mean.logits()[:, number]
    shares = torch.stack([one.double().log_softmax(dim=1) for one in logits]).logsumexp(dim=0)
    others = [i for i in range(shares.shape[1]) if i != number]
    return shares[:, number] - shares[:, others].logsumexp(dim=1)
