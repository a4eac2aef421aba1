"""Where tensors wait that memory cannot hold: in temporary files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medvision.errors import MemoryNeeded


class Drawer:
    """Tensors in temporary files, each taken out once."""

    def __init__(self) -> None:
        self.folder = TemporaryDirectory(prefix="medvision-")
        self.shapes: dict[tuple[int, ...], tuple[torch.Size, Any]] = {}

    def path(self, key: tuple[int, ...]) -> Path:
        """Return the file of a key."""
        return Path(self.folder.name) / "-".join(map(str, key))

    def __setitem__(self, key: tuple[int, ...], tensor: Tensor) -> None:
        array = tensor.cpu().numpy()
        self.shapes[key] = tensor.shape, array.dtype
        try:
            array.tofile(self.path(key))
        except OSError as error:
            place = Path(self.folder.name).parent
            raise MemoryNeeded(
                f"Sums of answers are kept in {place}, which cannot hold them: "
                f"{error.strerror or 'no space left'}. Name another place (TMPDIR)."
            ) from None

    def pop(self, key: tuple[int, ...], default: Tensor | None = None) -> Tensor | None:
        """Take a tensor out; `default` where there is none."""
        if key not in self.shapes:
            return default
        shape, kind = self.shapes.pop(key)
        path = self.path(key)
        found = torch.from_numpy(np.fromfile(path, kind).reshape(shape))
        path.unlink()
        return found
