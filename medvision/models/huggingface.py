"""A Hugging Face encoder (extra ``text``), frozen or trained in its last layers.

Nothing of a repository's code is ever run. Knows nothing of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from medvision.errors import SpecError, require_extra
from medvision.models.text import TextEncoder

REMEMBERED = 1000  # texts whose tokens a frozen encoder keeps, since they never change
WEIGHTS = ("model.safetensors*", "pytorch_model*.bin*")
DATA = {"trust_remote_code": False}  # unsaid, transformers would ask on the terminal


class HuggingFaceEncoder(TextEncoder):
    """An encoder from a folder, or by name from the hub or its cache.

    Parameters
    ----------
    source : str
        A folder with ``config.json``, the tokenizer and weights, or a name such as
        ``"microsoft/BiomedVLP-CXR-BERT-general"``. A folder without weights (a model folder's)
        gives random ones.
    trained_layers : int
        Last layers that are trained.
    max_tokens : int

    Raises
    ------
    SpecError
        When there is no such encoder, or it has fewer layers.
    MissingExtra
    """

    def __init__(self, source: str, trained_layers: int, max_tokens: int) -> None:
        super().__init__()
        self.tokenizer, self.model = load(source)
        config: Any = self.model.config
        longest = getattr(config, "max_position_embeddings", max_tokens)
        self.dim, self.max_tokens = config.hidden_size, min(max_tokens, longest - 2)
        self.trained_layers, self.known = trained_layers, dict[str, Tensor]()
        lists = [one for one in self.model.modules() if isinstance(one, nn.ModuleList)]
        layers = max(lists, key=len, default=nn.ModuleList())
        if trained_layers > len(layers):
            raise SpecError(f"{source} has {len(layers)} layers; {trained_layers} cannot train.")
        self.model.requires_grad_(False)
        self.trained = list(layers)[len(layers) - trained_layers :]
        for layer in self.trained:
            layer.requires_grad_(True)
        self.model.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but of what is frozen: it stays in eval mode."""
        super().train(mode)
        self.model.eval()
        for layer in self.trained:
            layer.train(mode)
        return self

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return tokens (B, T, D) and which of them are real (B, T)."""
        device = next(self.model.parameters()).device
        if self.trained_layers:
            tokens, lengths = self.encode(texts)
        else:
            new = [text for text in dict.fromkeys(texts) if text not in self.known]
            found = dict[str, Tensor]()
            if new:
                with torch.no_grad():
                    rows, counts = self.encode(new)
                found = {t: row[:n] for t, row, n in zip(new, rows, counts, strict=True)}
            if len(self.known) < REMEMBERED and self.training:
                self.known |= {text: row.cpu() for text, row in found.items()}
            found = {text: row.to(device) for text, row in (self.known | found).items()}
            tokens = pad_sequence([found[text] for text in texts], batch_first=True)
            lengths = [len(found[text]) for text in texts]
        told = torch.tensor([bool(text) for text in texts], device=device)
        real = (
            torch.arange(tokens.shape[1], device=device) < torch.tensor(lengths).to(device)[:, None]
        )
        return tokens, real & told[:, None]

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, list[int]]:
        """Return tokens (B, T, D), and how many of each row are real."""
        device = next(self.model.parameters()).device
        batch = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        inputs = {name: value.to(device) for name, value in batch.items()}
        tokens: Tensor = self.model(**inputs).last_hidden_state
        return tokens.float(), batch["attention_mask"].sum(dim=1).tolist()

    def pieces(self, text: str) -> list[str]:
        """Return all tokens of a text in words, also those beyond `max_tokens`."""
        found: list[str] = self.tokenizer.tokenize(text, verbose=False)
        return found


def load(source: str) -> tuple[Any, nn.Module]:
    """Return tokenizer and network, from the folder, the hub's cache or the hub, in this order.

    Raises
    ------
    SpecError
        When there are none.
    MissingExtra
    """
    require_extra("transformers", "text", "A Hugging Face text encoder")
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = Path(source)
    bare = folder.is_dir() and not any(any(folder.glob(one)) for one in WEIGHTS)
    try:
        offline = transformers.AutoConfig.from_pretrained(source, local_files_only=True, **DATA)
    except (OSError, ValueError):
        offline = None
    try:
        local = offline is not None or folder.is_dir()
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            source, local_files_only=local, **DATA
        )
        if bare:
            return tokenizer, transformers.AutoModel.from_config(offline, **DATA)
        network = transformers.AutoModel.from_pretrained(source, local_files_only=local, **DATA)
        return tokenizer, network
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        first = str(error).strip().split("\n")[0]
        raise SpecError(
            f"{source} is no text encoder that can be read: {first} Without a network, fetch it "
            f"elsewhere (hf download NAME --local-dir FOLDER) and name the folder."
        ) from None


def save_files(source: str, folder: Path) -> None:
    """Write what builds the encoder again, but for its weights: configuration and tokenizer."""
    tokenizer, model = load(source)
    folder.mkdir(parents=True, exist_ok=True)
    config: Any = model.config
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
