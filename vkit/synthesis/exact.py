"""Exact values and expressions over them, so that an answer is 5√3 and not 8.66.

    evaluate("b * h / 2", {"b": 6, "h": sqrt(75)})        # 15√3, a sympy expression
    spell("b * h / 2", {"b": 6, "h": sqrt(75)})           # "6 × 5√3 / 2"
    show(evaluate("pi * r**2", {"r": 5}))                 # "25π"

A value is an int, a Fraction, a sum of rationals times surds and powers of pi (sympy's, used only where one
of those occurs), or a tuple of values (a point, an interval).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

Exact = Any  # int | Fraction | sympy.Expr | tuple[Exact, ...]: sympy is imported only where it is needed


def evaluate(expression: str, values: Mapping[str, Exact]) -> Exact:
    """The exact value of an expression in Python's notation over named values.

    Known besides + - * / ** and tuples: pi, sqrt(x), abs(x), log(base, x), and sin, cos, tan of degrees.

    Raises:
        ValueError: an unknown name, a function or operator not named above, a division by zero.

    >>> evaluate("a / b", {"a": 6, "b": 4})
    Fraction(3, 2)
    """
    try:
        return tidy(_value(_parsed(expression), values))
    except ZeroDivisionError as error:
        raise ValueError(f"{expression!r} divides by zero with {dict(values)}") from error


def spell(expression: str, values: Mapping[str, Exact]) -> str:
    """The expression with its values put in, as a textbook prints it.

    >>> spell("sqrt(a**2 + b**2)", {"a": 3, "b": 4})
    '√(3² + 4²)'
    """
    return _spelled(_parsed(expression), values)[0]


def names(expression: str) -> set[str]:
    """The named values that an expression refers to."""
    found = {node.id for node in ast.walk(_parsed(expression)) if isinstance(node, ast.Name)}
    return found - {"pi", *_FUNCTIONS}


def show(value: Exact) -> str:
    """The value as a textbook prints it.

    Raises:
        ValueError: the value is no sum of rationals times surds and powers of pi.

    >>> show(Fraction(7, 2)), show(5 * sqrt(3) / 2), show((1, -2)), show(sqrt(12) - 1)
    ('7/2', '5√3/2', '(1, -2)', '2√3 - 1')
    """
    if isinstance(value, tuple):
        return f"({', '.join(show(part) for part in value)})"
    terms = sorted((_term(term) for term in _terms(value)), key=lambda term: (term[0] < 0, term[2], term[1]))
    text = ""
    for coefficient, radicand, power in terms:
        sign = ("-" if coefficient < 0 else "") if not text else (" - " if coefficient < 0 else " + ")
        text += sign + _product(abs(coefficient), radicand, power)
    return text or "0"


def tidy(value: Exact) -> Exact:
    """The same value in its one form: int before Fraction before a sympy expression, multiplied out.

    >>> tidy(Fraction(4, 2)), tidy(sqrt(3) ** 2)
    (2, 3)
    """
    if isinstance(value, tuple):
        return tuple(tidy(part) for part in value)
    if isinstance(value, int):
        return value
    if not isinstance(value, Fraction):
        value = _tidy_sympy(value)
    return int(value) if isinstance(value, Fraction) and value.denominator == 1 else value


def same(first: Exact, second: Exact) -> bool:
    """Whether two values are equal, exactly.

    >>> same(sqrt(12), 2 * sqrt(3)), same((1, 2), (1, 3))
    (True, False)
    """
    first, second = tidy(first), tidy(second)
    if isinstance(first, tuple) or isinstance(second, tuple):
        pairs = isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second)
        return pairs and all(same(a, b) for a, b in zip(first, second))
    return bool(first == second) or tidy(first - second) == 0


def sqrt(value: Exact) -> Exact:
    """The exact square root of a value that is not negative: rational where it can be.

    >>> sqrt(49), sqrt(Fraction(1, 4)), show(sqrt(18))
    (7, Fraction(1, 2), '3√2')
    """
    value = tidy(value)
    if as_float(value) < 0:
        raise ValueError(f"the root of {show(value)} is no real number")
    if isinstance(value, (int, Fraction)):
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return tidy(Fraction(top, bottom))
    return _sympy().sqrt(value)


def pi(times: Exact = 1) -> Exact:
    """A multiple of pi. `show(pi(Fraction(3, 2)))` is "3π/2"."""
    return times * _sympy().pi


def as_float(value: Exact) -> float:
    """The value as a float, for measuring and for drawing."""
    return float(value)


def pleasant(value: Exact, *, digits: int = 4, denominator: int = 12) -> bool:
    """Whether a reader would take the value for an answer: few digits, a small denominator, few terms.

    >>> pleasant(Fraction(7, 2)), pleasant(Fraction(113, 29)), pleasant(123456)
    (True, False, False)
    """
    if isinstance(value, tuple):
        return all(pleasant(part, digits=digits, denominator=denominator) for part in value)
    try:
        terms = [_term(term) for term in _terms(tidy(value))]
    except ValueError:
        return False
    return len(terms) <= 2 and all(
        coefficient.denominator <= denominator
        and abs(coefficient.numerator) < 10**digits
        and radicand < 1000
        and power <= 2
        for coefficient, radicand, power in terms
    )


def _terms(value: Exact) -> list[Any]:
    """The summands of a value that are not zero."""
    if isinstance(value, (int, Fraction)):
        return [value] if value else []
    return list(_sympy().Add.make_args(value))


def _term(term: Any) -> tuple[Fraction, int, int]:
    """(coefficient, radicand, power of pi) of one summand."""
    if isinstance(term, (int, Fraction)):
        return Fraction(term), 1, 0
    sympy = _sympy()
    coefficient, rest = term.as_coeff_Mul()
    radicand, power = 1, 0
    for factor in sympy.Mul.make_args(rest):
        base, exponent = factor.as_base_exp()
        if base == sympy.pi and exponent.is_Integer and exponent > 0:
            power += int(exponent)
        elif base.is_Integer and base > 0 and exponent == sympy.Rational(1, 2):
            radicand *= int(base)
        elif factor != 1:
            raise ValueError(f"{term} is no rational times a surd and a power of pi; choose other numbers")
    if not coefficient.is_Rational:
        raise ValueError(f"{term} has no rational coefficient; choose other numbers")
    return Fraction(int(coefficient.p), int(coefficient.q)), radicand, power


def _product(coefficient: Fraction, radicand: int, power: int) -> str:
    """One summand that is not negative: "5√3/2", "π", "7/2"; pi stands before the root."""
    factors = ("" if power == 0 else "π" if power == 1 else "π" + _superscript(power)) + (
        "" if radicand == 1 else f"√{radicand}"
    )
    top = str(coefficient.numerator) if coefficient.numerator != 1 or not factors else ""
    return f"{top}{factors}" + (f"/{coefficient.denominator}" if coefficient.denominator != 1 else "")


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> ast.expr:
    try:
        return ast.parse(expression, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{expression!r} is no expression ({error.msg})") from error


def _value(node: ast.expr, values: Mapping[str, Exact]) -> Exact:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name):
        if node.id == "pi":
            return pi()
        if node.id not in values:
            raise ValueError(f"{node.id!r} is no known value; known: {', '.join(values) or 'none'}")
        return values[node.id]
    if isinstance(node, ast.Tuple):
        return tuple(_value(part, values) for part in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, values)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        return _FUNCTIONS[node.func.id](*(_value(argument, values) for argument in node.args))
    raise ValueError(f"{ast.unparse(node)!r} is not known in an expression")


def _divide(first: Exact, second: Exact) -> Exact:
    return Fraction(first) / second if isinstance(first, (int, Fraction)) else first / second


def _power(base: Exact, exponent: Exact) -> Exact:
    if isinstance(base, (int, Fraction)) and isinstance(exponent, int):
        return Fraction(base) ** exponent
    return base**exponent


def _logarithm(base: Exact, value: Exact) -> Exact:
    return tidy(_sympy().log(value, base))


def _of_degrees(name: str) -> Callable[[Exact], Exact]:
    def function(degrees: Exact) -> Exact:
        sympy = _sympy()
        return tidy(getattr(sympy, name)(sympy.pi * degrees / 180))

    return function


_OPERATORS: dict[type, Callable[[Exact, Exact], Exact]] = {
    ast.Add: lambda first, second: first + second,
    ast.Sub: lambda first, second: first - second,
    ast.Mult: lambda first, second: first * second,
    ast.Div: _divide,
    ast.Pow: _power,
}
_FUNCTIONS: dict[str, Callable[..., Exact]] = {
    "sqrt": sqrt,
    "abs": abs,
    "log": _logarithm,
    "sin": _of_degrees("sin"),
    "cos": _of_degrees("cos"),
    "tan": _of_degrees("tan"),
}

# How tightly a piece of text holds together: sums, products, signs and powers, single things.
_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4


def _spelled(node: ast.expr, values: Mapping[str, Exact]) -> tuple[str, int]:
    """The text of an expression and how tightly it holds together."""
    if isinstance(node, (ast.Constant, ast.Name)):
        return _spelled_value(_value(node, values))
    if isinstance(node, ast.Tuple):
        return f"({', '.join(_spelled(part, values)[0] for part in node.elts)})", _ATOM
    if isinstance(node, ast.UnaryOp):
        return f"-{_within(node.operand, values, _PRODUCT)}", _SUM
    if isinstance(node, ast.Call):
        return _spelled_call(node, values), _ATOM
    if not isinstance(node, ast.BinOp):
        raise ValueError(f"{ast.unparse(node)!r} is not known in an expression")
    if isinstance(node.op, ast.Pow):
        base = _within(node.left, values, _ATOM)
        exponent = tidy(_value(node.right, values))
        text = _superscript(exponent) if isinstance(exponent, int) else f"^({show(exponent)})"
        return base + text, _POWER
    if isinstance(node.op, (ast.Add, ast.Sub)):
        sign = "+" if isinstance(node.op, ast.Add) else "-"
        right = _within(node.right, values, _PRODUCT)
        return f"{_within(node.left, values, 0)} {sign} {right}", _SUM
    sign = "×" if isinstance(node.op, ast.Mult) else "/"
    right = _within(node.right, values, _PRODUCT if sign == "×" and _is_value(node.right) else _POWER)
    return f"{_within(node.left, values, _PRODUCT)} {sign} {right}", _PRODUCT


def _spelled_value(value: Exact) -> tuple[str, int]:
    text = show(value)
    if " " in text or text.startswith("-") or "/" in text:
        return text, _ATOM if isinstance(value, tuple) else _SUM
    return text, _ATOM if text.isdigit() or text == "π" else _PRODUCT


def _is_value(node: ast.expr) -> bool:
    return isinstance(node, (ast.Constant, ast.Name))


def _within(node: ast.expr, values: Mapping[str, Exact], tightness: int) -> str:
    """The text of a part, in parentheses where it holds together less than its place asks."""
    text, own = _spelled(node, values)
    return text if own >= tightness else f"({text})"


def _spelled_call(node: ast.Call, values: Mapping[str, Exact]) -> str:
    assert isinstance(node.func, ast.Name)
    name, arguments = node.func.id, [_spelled(argument, values) for argument in node.args]
    if name == "sqrt":
        text, tightness = arguments[0]
        return f"√{text}" if tightness == _ATOM else f"√({text})"
    if name == "abs":
        return f"|{arguments[0][0]}|"
    if name == "log":
        return f"log_{arguments[0][0]}({arguments[1][0]})"
    return f"{name} {_within(node.args[0], values, _ATOM)}°"


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _tidy_sympy(value: Any) -> Exact:
    sympy = _sympy()
    value = sympy.sympify(value)
    if any(p.exp.is_negative and p.base.is_Add for p in value.atoms(sympy.Pow)):
        value = sympy.radsimp(value)
    value = sympy.expand(value)
    if value.has(sympy.Float):
        raise ValueError(f"{value} is not exact; use integers and fractions")
    return Fraction(int(value.p), int(value.q)) if value.is_Rational else value


@lru_cache(maxsize=1)
def _sympy() -> Any:
    import sympy

    return sympy
