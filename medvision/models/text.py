"""Text encoders: reports in, one vector per token out.

Knows nothing of images, nor of what the words mean. One interface: called with texts it returns
tokens (B, T, D) and a mask (B, T) that is true where a token is real; an empty text has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor, nn

from medvision.errors import SpecError
from medvision.report_masking import MASK

PAD, UNKNOWN, START = "[PAD]", "[UNK]", "[CLS]"
SPECIAL = (PAD, UNKNOWN, START, MASK)
VOCABULARY = 4000  # words
MIN_COUNT = 2  # of a word that is known whole
HEADS = 4
STRANGE = 0.5  # share of words that a model may not know, in silence


class TextEncoder(nn.Module):
    """What every text encoder offers.

    Attributes
    ----------
    dim : int
        Length of a token's vector.
    max_tokens : int
        Tokens that are read of a text.
    """

    dim: int
    max_tokens: int

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return tokens (B, T, D) and which of them are real (B, T)."""
        raise NotImplementedError

    def pieces(self, text: str) -> list[str]:
        """Return all tokens of a text in words, also those beyond `max_tokens`."""
        raise NotImplementedError

    def doubts(self, text: str) -> list[str]:
        """Return why a text may not be read as its writer meant it."""
        count = len(self.pieces(text))
        if count <= self.max_tokens:
            return []
        return [f"the report is long: {self.max_tokens} of its {count} pieces of words were read"]


class SmallTextEncoder(TextEncoder):
    """A small transformer that is trained with the rest (pre-norm; Xiong et al., ICML 2020).

    Parameters
    ----------
    vocabulary : str
        Words and letters, separated by blanks; see `learn_vocabulary`.
    width, layers, max_tokens : int
    dropout : float
    """

    def __init__(
        self, vocabulary: str, width: int, layers: int, max_tokens: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer(vocabulary)
        self.dim, self.max_tokens = width, max_tokens
        self.words = nn.Embedding(self.tokenizer.get_vocab_size(), width, padding_idx=0)
        self.places = nn.Parameter(torch.zeros(max_tokens + 1, width))
        nn.init.normal_(self.words.weight, std=0.02 * width**0.5)
        nn.init.normal_(self.places, std=0.02)
        layer = nn.TransformerEncoderLayer(
            width, HEADS, 2 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return tokens (B, T, D) and which of them are real (B, T); the first starts the text."""
        device = self.places.device
        ids = [[self.tokenizer.token_to_id(START), *self.ids(text)] for text in texts]
        longest = max(len(one) for one in ids)
        padded = torch.zeros(len(ids), longest, dtype=torch.long)
        real = torch.zeros(len(ids), longest, dtype=torch.bool)
        for row, one in enumerate(ids):
            padded[row, : len(one)], real[row, : len(one)] = torch.tensor(one), True
        padded, real = padded.to(device), real.to(device)
        tokens: Tensor = self.words(padded) + self.places[:longest]
        tokens = self.layers(tokens, src_key_padding_mask=~real)
        return tokens, real & torch.tensor([len(one) > 1 for one in ids], device=device)[:, None]

    def ids(self, text: str) -> list[int]:
        """Return the numbers of the first `max_tokens` pieces of a text."""
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return found[: self.max_tokens]

    def pieces(self, text: str) -> list[str]:
        """Return all pieces of a text, such as ``pneumo`` and ``##thorax``."""
        found: list[str] = self.tokenizer.encode(text, add_special_tokens=False).tokens
        return found

    def doubts(self, text: str) -> list[str]:
        """Return why a text may not be read as its writer meant it."""
        found = super().doubts(text)
        words = self.tokenizer.pre_tokenizer.pre_tokenize_str(
            self.tokenizer.normalizer.normalize_str(text)
        )
        strange = [word for word, _ in words if self.tokenizer.token_to_id(word) is None]
        if words and len(strange) > STRANGE * len(words):
            found.append("most words of the report were never seen in training")
        return found


def build_tokenizer(vocabulary: str = "") -> Tokenizer:
    """Return a tokenizer (WordPiece; Wu et al., 2016) of these pieces, whatever their case."""
    pieces = vocabulary.split(" ") if vocabulary else list(SPECIAL)
    if tuple(pieces[: len(SPECIAL)]) != SPECIAL or len(set(pieces)) != len(pieces):
        raise SpecError(f"A vocabulary begins with {' '.join(SPECIAL)}, and repeats no piece.")
    tokenizer = Tokenizer(
        WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token=UNKNOWN)
    )
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def learn_vocabulary(texts: Iterable[str], size: int = VOCABULARY) -> str:
    """Learn which words a tokenizer knows whole, and which characters all others are spelt with.

    The words are the commonest `size` that come at least twice. (The trainer for pieces of words
    that the package `tokenizers` has gives another vocabulary at each run.)
    """
    tokenizer = build_tokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        plain = tokenizer.normalizer.normalize_str(text)
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(plain))
    letters = {letter for word in words for letter in word}
    common = sorted((-count, word) for word, count in words.items() if count >= MIN_COUNT)[:size]
    pieces = letters | {f"##{letter}" for letter in letters} | {word for _, word in common}
    return " ".join([*SPECIAL, *sorted(pieces)])
