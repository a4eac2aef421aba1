"""A network out of an exported file, in the place of one that torch would run."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from medvision.openvino_model import OpenVinoModel


class ExportedNetwork(nn.Module):
    """An OpenVINO IR or ONNX file that takes windows and gives logits, on the CPU.

    Parameters
    ----------
    path : Path
        An ``.xml`` with its ``.bin``, or an ``.onnx``.
    divisor : tuple of int
        What the sides of a window must divide by.
    """

    def __init__(self, path: Path, divisor: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self.divisor = OpenVinoModel(path), divisor

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits of windows (B, C, I, J, K)."""
        return self.model(windows).to(windows.device)
