"""What was found out about runtimes on this machine, kept beside the user's other caches.

One JSON file, key → value. One that is missing, damaged or not writable is done without. Knows
nothing of what it keeps.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from medvision.files import write_text
from medvision.from_json import parse_json

VARIABLE = "MEDVISION_RUNTIMES"  # another file, or "off"
MOST = 200  # keys; beyond them the oldest go


def cache_path() -> Path | None:
    """Return the file; None where nothing is kept."""
    setting = os.environ.get(VARIABLE, "")
    if setting.lower() == "off":
        return None
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(setting) if setting else Path(cache) / "medvision" / "runtimes.json"


def load() -> dict[str, Any]:
    """Return all that is kept; nothing where the file is missing or damaged."""
    path = cache_path()
    try:
        data = parse_json(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def kept(key: str) -> Any:
    """Return what is kept under a key; None where nothing is."""
    return load().get(key)


def keep(key: str, value: Any) -> None:
    """Keep a JSON value under a key; where that cannot be done, it is found anew next time."""
    path = cache_path()
    if path is None:
        return
    others = {name: one for name, one in load().items() if name != key}
    newest = [*others.items(), (key, value)][-MOST:]
    try:
        write_text(path, json.dumps(dict(newest), indent=1) + "\n")
    except OSError:
        return
