"""The part of MONAI's ``$expressions`` that is no more than arithmetic on what a config says.

Nothing is run: an expression is parsed, and whatever is not on the list here is not known.
"""

from __future__ import annotations

import ast
import operator
import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any

REFERENCE = re.compile(r"@#*\w+(?:(?:::|#)\w+)*")
MAX_LENGTH = 5000  # characters of an expression; characters and numbers in what it makes
MAX_NUMBER = 1e15
MAX_DIGITS = 15  # to which a number is rounded
PLAIN = (bool, int, float, str, type(None))
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "bool": bool,
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "round": round,
    "str": str,
    "sum": sum,
    "tuple": tuple,
}
ARITHMETIC: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARISON: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
    ast.Is: lambda one, other: one is other,
    ast.IsNot: lambda one, other: one is not other,
}


class UnknownError(Exception):
    """An expression that only code could tell."""


def evaluate(text: str, lookup: Callable[[str], Any]) -> Any:
    """Return what an expression says.

    Parameters
    ----------
    text : str
        Without its ``$``.
    lookup : callable
        Gives what a reference, with its ``@``, stands for; raises `UnknownError` when only code
        could tell.

    Raises
    ------
    UnknownError

    Examples
    --------
    >>> evaluate("[1.5] * 2 if @big else 3 * @n + 1", {"@big": False, "@n": 4}.__getitem__)
    13
    """
    if len(text) > MAX_LENGTH:
        raise UnknownError
    found: list[str] = []

    def named(match: re.Match[str]) -> str:
        found.append(match.group())
        return f"__reference_{len(found) - 1}"

    try:
        tree = ast.parse(REFERENCE.sub(named, text).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UnknownError from None
    names = {f"__reference_{number}": name for number, name in enumerate(found)}
    try:
        return _value(tree.body, names, lookup)
    except (ArithmeticError, TypeError, ValueError, LookupError, RecursionError):
        raise UnknownError from None


def _value(node: ast.AST, names: dict[str, str], lookup: Callable[[str], Any]) -> Any:
    def value(inner: ast.AST) -> Any:
        return _value(inner, names, lookup)

    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as said):
            return said
        case ast.Name(id=name) if name in names:
            return lookup(names[name])
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return _gathered(value(part) for part in parts)
        case ast.Dict(keys=keys, values=values) if all(keys):
            held = _gathered(value(part) for part in values)
            return dict(zip([value(k) for k in keys if k], held, strict=True))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -value(inner)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return not value(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            return _arithmetic(op, value(left), value(right))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARISON:
            return COMPARISON[type(op)](value(left), value(right))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(value(part) for part in parts)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(value(part) for part in parts)
        case ast.IfExp(test=test, body=body, orelse=other):
            return value(body) if value(test) else value(other)
        case ast.Subscript(value=inner, slice=ast.Constant() | ast.UnaryOp() | ast.Name() as key):
            return value(inner)[value(key)]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return _called(name, _gathered(value(arg) for arg in args))
        case ast.Call(func=func, args=args, keywords=[]) if ast.unparse(func) == "os.path.join":
            return posixpath.join(*_gathered(value(arg) for arg in args))
    raise UnknownError


def size_of(value: Any) -> int:
    """Return how many numbers and characters a value holds, as far as `MAX_LENGTH` goes.

    Examples
    --------
    >>> size_of([1, "two", {"three": [4, []]}])
    6
    """
    total, left = 0, [value]
    while left and total <= MAX_LENGTH:
        match left.pop():
            case list() | tuple() as held if held:
                left += held
            case dict() as held if held:
                left += held.values()
            case str(text):
                total += max(len(text), 1)
            case _:
                total += 1
    return total


def _gathered(values: Iterable[Any]) -> list[Any]:
    """Return values as a list; no further one is worked out once they hold too much."""
    found, total = [], 0
    for one in values:
        total += size_of(one)
        if total > MAX_LENGTH:
            raise UnknownError
        found.append(one)
    return found


def _called(name: str, args: list[Any]) -> Any:
    """Return what a function says, unless that takes longer than its arguments show."""
    if name == "str" and not all(isinstance(one, PLAIN) for one in args):
        raise UnknownError
    if name == "round" and not all(abs(digits) <= MAX_DIGITS for digits in args[1:]):
        raise UnknownError
    return FUNCTIONS[name](*args)


def _arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    """Return the result for two numbers; `+` also joins texts and lists, `*` repeats a list."""
    numbers = all(isinstance(one, (int, float)) and abs(one) < MAX_NUMBER for one in (left, right))
    if numbers:
        return ARITHMETIC[type(op)](left, right)
    alike = any(isinstance(left, kind) and isinstance(right, kind) for kind in (str, list))
    if isinstance(op, ast.Add) and alike and size_of(left) + size_of(right) <= MAX_LENGTH:
        return left + right
    repeated = isinstance(op, ast.Mult) and isinstance(left, list) and isinstance(right, int)
    plain = repeated and all(isinstance(one, PLAIN) for one in left)
    if plain and size_of(left) * right <= MAX_LENGTH:
        return left * right
    raise UnknownError
