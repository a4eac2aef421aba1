"""The config of a MONAI bundle as data: references followed, expressions worked out where safe.

No name in it is imported and nothing in it is called. What only code could tell stays `Opaque`,
and is an error for who needs it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from medvision.errors import MissingExtra, SpecError
from medvision.importers.monai_expression import UnknownError, evaluate, size_of

MAX_BYTES = 16 << 20  # of a config
MAX_DEPTH = 60  # references in references, lists in lists
MAX_NODES = 200_000  # values looked at, all together
YAML = (".yaml", ".yml")
META = ("_target_", "_disabled_", "_requires_", "_desc_", "_mode_")
_MISSING = object()


@dataclass(frozen=True)
class Opaque:
    """A value that only running code could tell: its text, and where it stands."""

    text: str
    where: str


def read_data(path: Path) -> dict[str, Any]:
    """Read a table of JSON or YAML.

    Raises
    ------
    SpecError
        When it is missing, too large, damaged or no table.
    MissingExtra
        For YAML without PyYAML.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpecError(f"{path} is larger than {MAX_BYTES >> 20} MB: no config is.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read: {error}.") from None
    try:
        found = _load_yaml(path, text) if path.suffix in YAML else json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise SpecError(f"{path} is damaged: {what}.") from None
    if not isinstance(found, dict):
        raise SpecError(f"{path} is no table of settings.")
    return found


def _load_yaml(path: Path, text: str) -> Any:
    if find_spec("yaml") is None:
        raise MissingExtra(f"{path} is YAML, which needs PyYAML: pip install pyyaml")
    yaml: Any = import_module("yaml")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


class Config:
    """A config, whose values are asked for by their ids (``"inferer::roi_size"``).

    Parameters
    ----------
    path : Path
        For errors.
    data : mapping
        As `read_data` gives it; `bundle_root` is taken to be ``.``, wherever it was.
    """

    def __init__(self, path: Path, data: Mapping[str, Any]) -> None:
        self.path, self.data = path, {**data, "bundle_root": "."}
        self._nodes = 0

    def __contains__(self, name: str) -> bool:
        return name in self.data

    def get(self, name: str) -> Any:
        """Return a value, with all that it refers to in place; a `SpecError` if there is none."""
        return self._lookup(name, 0)

    def parts(self) -> Iterator[Mapping[str, Any]]:
        """Yield every table with a ``_target_``, as it is written, and once if YAML repeats it."""
        left: list[Any] = [self.data]
        seen: set[int] = set()
        while left:
            value = left.pop()
            if not isinstance(value, (list, Mapping)) or id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, Mapping) and "_target_" in value:
                yield value
            inner = value.values() if isinstance(value, Mapping) else value
            left += reversed(list(inner))

    def resolved(self, value: Any, where: str, depth: int = 0) -> Any:
        """Return a value of the config with all that it refers to in place."""
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise SpecError(f"{self.path}: {where} refers to itself, or is nested too deep.")
        if isinstance(value, Mapping):
            return {str(k): self.resolved(v, f"{where}::{k}", depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.resolved(one, f"{where}::{n}", depth + 1) for n, one in enumerate(value)]
        if not isinstance(value, str):
            return value
        if value.startswith("%"):
            if "." in value or not re.fullmatch(r"%#*\w+(?:(?:::|#)\w+)*", value):
                return Opaque(value, where)  # a macro from another file
            return self._lookup(absolute(value, where), depth + 1)
        if value.startswith("$"):
            if re.match(r"\$\s*(import|from)\b", value):
                return Opaque(value, where)
            try:
                found = evaluate(value[1:], lambda name: self._known(name, where, depth + 1))
            except UnknownError:
                return Opaque(value, where)
            self._nodes += size_of(found)  # the next value tells whether it is too much
            return found
        if re.fullmatch(r"@#*\w+(?:(?:::|#)\w+)*", value):
            return self._lookup(absolute(value, where), depth + 1)
        return value

    def _known(self, reference: str, where: str, depth: int) -> Any:
        """Return what a reference in an expression stands for; code is `UnknownError`."""
        found = self._lookup(absolute(reference, where), depth)
        if any(isinstance(one, Opaque) for one in leaves(found)):
            raise UnknownError
        return found

    def _lookup(self, name: str, depth: int) -> Any:
        value: Any = self.data
        keys = name.replace("#", "::").split("::")
        for number, key in enumerate(keys):
            here = "::".join(keys[:number])
            if isinstance(value, str):
                value = self.resolved(value, here, depth + 1)
            if isinstance(value, Opaque):
                return value
            value = child(value, key)
            if value is _MISSING:
                raise SpecError(f"{self.path} has no {name!r}, which something refers to.")
        return self.resolved(value, name, depth + 1)


def child(value: Any, key: str) -> Any:
    """Return what a table or list has at a key."""
    if isinstance(value, Mapping):
        return value.get(key, _MISSING)
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return _MISSING


def absolute(reference: str, where: str) -> str:
    """Return the id that a reference means, `where` it stands: ``@##name`` is a level up."""
    rest = reference[1:].lstrip("#")
    levels = len(reference) - 1 - len(rest)
    return "::".join([*where.split("::")[:-levels], rest]) if levels else rest


def leaves(value: Any) -> Iterator[Any]:
    """Yield all that is no table and no list."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from leaves(one)
    else:
        yield value


class Part:
    """A table with a ``_target_``: what it makes, and its arguments, each to be accounted for.

    Parameters
    ----------
    path : Path
        Of the config, for errors.
    value : Any
        The table, resolved.
    where : str
    """

    def __init__(self, path: Path, value: Any, where: str) -> None:
        self.path, self.where = path, where
        if isinstance(value, Opaque):
            raise SpecError(f"{path}: {value.where} is {value.text!r}, which only code could tell.")
        if not isinstance(value, Mapping) or not isinstance(value.get("_target_"), str):
            raise SpecError(f"{path}: {where} has no _target_.")
        self.target: str = value["_target_"]
        self.left = {key: one for key, one in value.items() if key not in META}
        self.disabled = value.get("_disabled_") in (True, "true", "True")
        if value.get("_mode_", "default") != "default":
            self.refuse("has a _mode_")

    @property
    def name(self) -> str:
        """Return the last part of the target's name."""
        return self.target.rpartition(".")[2]

    def refuse(self, why: str) -> NoReturn:
        """Raise an error that names the part and the config."""
        raise SpecError(f"{self.path}: {self.name} ({self.where}) {why}.")

    def take(self, name: str, default: Any = None) -> Any:
        """Return an argument; a `SpecError` when only code could tell it."""
        value = self.left.pop(name, default)
        for one in leaves(value):
            if isinstance(one, Opaque):
                self.refuse(f"has {name} = {one.text!r}, which only code could tell")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """Return an argument that is yes or no; of a list, for several keys, the first."""
        return bool(first(self.take(name, default)))

    def number(self, name: str, default: float | None = None) -> float | None:
        """Return an argument that is a number, or None."""
        value = first(self.take(name, default))
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            self.refuse(f"has {name} = {value!r}, which is no number")
        return value

    def ignore(self, *names: str) -> None:
        """Let arguments pass that change nothing here."""
        for name in names:
            self.left.pop(name, None)

    def want(self, name: str, *values: Any) -> None:
        """Refuse an argument that is none of `values`; the first is what is meant without it."""
        value = first(self.take(name, values[0]))
        if value not in values:
            self.refuse(f"has {name} = {value!r}, which medvision does not do")

    def finish(self) -> None:
        """Refuse arguments that nobody took."""
        if self.left:
            self.refuse(f"has {', '.join(sorted(self.left))}, which medvision does not know")


def first(value: Any) -> Any:
    """Return the first of a list, or the value itself."""
    return value[0] if isinstance(value, list) and value else value
