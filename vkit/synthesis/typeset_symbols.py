"""Names of signs: the LaTeX commands that can be drawn, and characters that are drawn as others.

SYMBOLS["angle"]          # "∠"

What stands in none of these tables is refused by `typeset_latex.parse`, by name.
"""

from __future__ import annotations

import unicodedata

# Commands that are one character.
SYMBOLS = {
    **{unicodedata.name(c).split()[-1].lower(): c for c in "αβγδεζηθικλμνξπρστφχψω" if c != "λ"},
    **{unicodedata.name(c).split()[-1].capitalize(): c for c in "ΓΔΘΞΠΣΦΨΩ"},
    **{"lambda": "λ", "Lambda": "Λ", "varepsilon": "ε", "vartheta": "θ", "varphi": "φ"},
    **{"angle": "∠", "measuredangle": "∡", "triangle": "△", "vartriangle": "△", "bigtriangleup": "△"},
    **{"square": "□", "Box": "□", "parallelogram": "▱", "odot": "⊙", "bigodot": "⊙", "frown": "⌒"},
    **{"circ": "∘", "degree": "°", "infty": "∞", "emptyset": "∅", "varnothing": "∅", "prime": "′"},
    **{"ldots": "…", "dots": "…", "cdots": "⋯", "bullet": "•", "partial": "∂", "nabla": "∇", "ell": "l"},
    **{"sum": "∑", "prod": "∏", "int": "∫", "therefore": "∴", "because": "∵", "pounds": "£", "euro": "€"},
    **{"vert": "|", "lbrace": "{", "rbrace": "}", "backslash": "\\", "colon": ":"},
}
# The same, with room on both sides.
OPERATORS = {
    **{"times": "×", "div": "÷", "cdot": "·", "pm": "±", "mp": "∓", "cup": "∪", "cap": "∩"},
    **{"leq": "≤", "le": "≤", "leqslant": "≤", "geq": "≥", "ge": "≥", "geqslant": "≥", "lt": "<", "gt": ">"},
    **{"neq": "≠", "ne": "≠", "approx": "≈", "equiv": "≡", "cong": "≅", "sim": "∼", "backsim": "∽"},
    **{"propto": "∝", "parallel": "∥", "perp": "⊥", "bot": "⊥", "in": "∈", "notin": "∉", "subset": "⊂"},
    **{"subseteq": "⊆", "to": "→", "rightarrow": "→", "leftarrow": "←", "leftrightarrow": "↔"},
    **{"Rightarrow": "⇒", "implies": "⇒", "Leftrightarrow": "⇔", "iff": "⇔", "mid": "|"},
}
PREFIXES = "∠∡△□▱⊙"  # stand at the name of what they mark
FUNCTIONS = {
    *("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh"),
    *("log", "ln", "lg", "exp", "lim", "max", "min", "gcd", "lcm"),
}
SPACES = {",": 0.17, ":": 0.22, ";": 0.28, "!": 0.0, " ": 0.25, "\n": 0.25, "quad": 1.0, "qquad": 2.0}
ESCAPED = set("{}$%&#_|")
TEXT = {"text", "textrm", "textbf", "textit", "mbox"}
PLAIN = {"mathrm", "mathbf", "mathit", "operatorname", "boldsymbol"}  # the font has one style
MARKS = {
    **{"overline": "bar", "bar": "bar", "vec": "arrow", "overrightarrow": "arrow", "tilde": "tilde"},
    **{"hat": "hat", "widehat": "hat", "wideparen": "arc", "overarc": "arc", "overleftrightarrow": "arrows"},
}
FENCES = {"(": "(", ")": ")", "[": "[", "]": "]", "|": "|", ".": "", "\\{": "{", "\\}": "}", "\\|": "∥"}

# Characters that are drawn as others: the same sign under another code.
ALIASES = {
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo", strict=True)),
    **dict(zip("⟂∣∙⋅‐‑‒∆∶∕µϕϵ⩽⩾〜⇨⟶⟹", "⊥|··---Δ:/μφε≤≥∼⇒→⇒", strict=True)),
    **dict(zip("（），．：；？！＝＋－＜＞％［］。、", "(),.:;?!=+-<>%[].,", strict=True)),
    **{"℃": "°C", "º": "°", "˚": "°", "▲": "△", "◯": "○", "～": "∼", "‖": "∥", "≦": "≤", "≧": "≥"},
    **{"⁀": "⌒", "≌": "≅"},
}
SPACE_CHARACTERS = "\t\u00a0\u2002\u2003\u2009\u202f\u2005\u2006\u3000"
INVISIBLE = "\u200b\ufeff\u00ad\u2060\u200e\u2061\u2062"
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+−=()ni", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙₓ", "0123456789+−=()nx", strict=True))
ACCENTS = {
    **{"\u0300": "grave", "\u0301": "acute", "\u0302": "hat", "\u0303": "tilde", "\u0304": "bar"},
    **{"\u0308": "dots", "\u030c": "caron"},
}
