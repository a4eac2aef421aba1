"""Run the notebooks beside this file and keep what they show: python examples/run_notebooks.py.

They run in a folder that is thrown away, so that what they show names no other.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent
SECONDS = 900  # that a cell may take, on a busy machine


def execute(path: Path, folder: Path) -> NotebookNode:
    """Return a notebook with its outputs, run in `folder` by a kernel of its own.

    Raises
    ------
    CellExecutionError
        When a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=SECONDS, resources=where, record_timing=False)
    return client.execute()


def keep(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook without what differs by machine; of a picture that has both, the JPEG."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/jpeg" in data:
                data.pop("image/png", None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(HERE.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            keep(execute(Path(name), Path(folder)), Path(name))
