"""What ships beside the package: the data-set builders and the Streamlit app.

In the repository they are top-level folders; in an installed wheel they lie inside the package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from medvision.errors import MissingExtra, OutputError, SeriesError, require_extra

PACKAGE = Path(__file__).parent
UPLOAD_MB = 1024  # that the app takes as one file


def shipped_folder(name: str) -> Path:
    """Return the folder ``apps`` or ``datasets``, in the wheel or in the repository."""
    for folder in (PACKAGE / f"_{name}", PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise MissingExtra(f"This installation lacks {name}/: reinstall medvision-toolkit.")


def dataset_builder(name: str) -> ModuleType:
    """Load the builder ``datasets/<name>.py``."""
    path = shipped_folder("datasets") / f"{name}.py"
    module_spec = importlib.util.spec_from_file_location(f"medvision_datasets_{name}", path)
    if module_spec is None or module_spec.loader is None or not path.exists():
        raise MissingExtra(f"No data set builder {name!r} in {path.parent}.")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # dataclasses look their module up
    module_spec.loader.exec_module(module)
    return module


def run_app(
    folder: Path, port: int, models: Sequence[Path] = (), trail: Path | None = None
) -> None:
    """Be the app's server until this process is told to end.

    It has no process of its own: whoever ends this one ends the server, on any platform.

    Parameters
    ----------
    folder : Path
        What can be browsed; nothing outside of it is read.
    port : int
    models : sequence of Path
        To choose from beside the bundled ones.
    trail : Path, optional
        The audit log; by default ``medvision/trail.jsonl`` among the user's state (XDG).

    Raises
    ------
    SeriesError, SpecError, OutputError
        When the folder is not there, one of `models` is no model, or the log cannot be written.
    """
    require_extra("streamlit", "app", "The app")
    if not folder.is_dir():
        raise SeriesError(f"No such folder: {folder}.")
    page = shipped_folder("apps") / "server.py"
    settings = {
        "server.address": "127.0.0.1",
        "server.port": str(port),
        "server.enableCORS": "true",
        "server.enableXsrfProtection": "true",
        "server.enableStaticServing": "false",
        "server.maxUploadSize": str(UPLOAD_MB),
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "client.toolbarMode": "minimal",
        "theme.base": "dark",
        "theme.primaryColor": "#f5b840",
    }
    options = [f"--{key}={value}" for key, value in settings.items()]
    options += [f"--server.allowedHosts={host}" for host in ("127.0.0.1", "localhost")]
    from medvision.zoo import all_models  # slow to import, and only needed here

    all_models(models)  # tells of what is no model, before a page is open
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    log = (trail or state / "medvision" / "trail.jsonl").resolve()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch(mode=0o600)
    except OSError as error:
        raise OutputError(f"The audit log {log} cannot be written: {error.strerror}.") from None
    os.environ |= {
        "MEDVISION_TRAIL": str(log),
        "MEDVISION_ROOT": str(folder.resolve()),
        "MEDVISION_MODELS": os.pathsep.join(str(one.resolve()) for one in models),
    }
    from streamlit.web.cli import main as streamlit  # an extra

    streamlit(["run", str(page), *options], prog_name="streamlit", standalone_mode=False)
