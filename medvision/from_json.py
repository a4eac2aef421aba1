"""JSON, and dataclasses from it, those in their fields, too; what does not fit is named."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from medvision.errors import SpecError

_T = TypeVar("_T")


def parse_json(text: str | bytes) -> Any:
    """Return the value that a text of JSON stands for.

    Raises
    ------
    ValueError
        When it is no JSON, or lists in lists go deeper than Python can follow.

    Examples
    --------
    >>> parse_json('{"a": [1]}')
    {'a': [1]}
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def build_dataclass(kind: type[_T], data: Any) -> _T:
    """Build a dataclass from JSON, and those in its fields; other keys are a `SpecError`."""
    if not isinstance(data, Mapping):
        raise SpecError(f"{kind.__name__} is a table of settings; found {type(data).__name__}.")
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    strange = sorted(set(data) - set(known))
    if strange:
        raise SpecError(
            f"Unknown {kind.__name__} settings: {', '.join(strange)}. Known: {', '.join(known)}."
        )
    try:
        return kind(**{key: _value(hints[key], value, key) for key, value in data.items()})
    except (TypeError, ValueError) as error:
        raise SpecError(f"{kind.__name__} cannot be built: {error}.") from None


def _value(hint: Any, value: Any, name: str) -> Any:
    """Return a JSON value as a field of type `hint` holds it; another type is a `TypeError`."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and NoneType in kinds:
        return None
    kind = next(one for one in kinds if one is not NoneType)
    origin, inner = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return build_dataclass(cast(type[Any], kind), value)
    if kind is Any or origin is Literal:  # Literals are checked by who holds them, in words
        return tuple(_value(Any, one, name) for one in value) if isinstance(value, list) else value
    if origin is tuple and isinstance(value, list):
        types = inner[:1] * len(value) if Ellipsis in inner else inner
        if len(types) != len(value):
            raise ValueError(f"{name} is {len(types)} values, found {value!r:.200}")
        return tuple(_value(one, part, name) for one, part in zip(types, value, strict=True))
    if origin is Mapping and isinstance(value, Mapping):
        return {key: _value(inner[1], one, f"{name}.{key}") for key, one in value.items()}
    plain = (int, float) if kind is float else (kind,)
    if origin is not None or type(value) not in plain:
        raise TypeError(f"{name} is {getattr(kind, '__name__', kind)}, found {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is a number, found {value!r}")
    return value
