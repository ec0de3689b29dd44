"""Reads text with mathematics in it, plain Unicode or a little LaTeX, into a tree that can be laid out.

    parse(r"Find $\\frac{1}{2}x^2$ if AB ∥ CD.")

Both spellings are taken anywhere, since problems mix them: "5√3", "x²", "x^2", "\\angle A = 30^\\circ",
"$\\frac{a}{b}$". A command or character that cannot be drawn is refused by name, never left out.
"""

from __future__ import annotations

import unicodedata

from vkit.errors import VkitError
from vkit.synthesis.typeset_glyphs import GLYPHS, in_font
from vkit.synthesis.typeset_symbols import (
    ACCENTS,
    ALIASES,
    ESCAPED,
    FENCES,
    FUNCTIONS,
    INVISIBLE,
    MARKS,
    OPERATORS,
    PLAIN,
    PREFIXES,
    SPACE_CHARACTERS,
    SPACES,
    SUBSCRIPTS,
    SUPERSCRIPTS,
    SYMBOLS,
    TEXT,
)
from vkit.synthesis.typeset_tree import (
    Break,
    Fence,
    Fraction,
    Group,
    Node,
    Over,
    Root,
    Run,
    Scripts,
    Space,
    Symbol,
)


def parse(text: str) -> tuple[Node, ...]:
    """The tree of a text.

    Raises:
        VkitError: a command or character that cannot be drawn, by name; braces or delimiters left open.

    >>> parse("x^2")
    (Scripts(base=(Run(text='x'),), above=(Run(text='2'),), below=()),)
    >>> parse(r"\\foo")
    Traceback (most recent call last):
    vkit.errors.VkitError: LaTeX command \\foo cannot be drawn; write it in plain text
    """
    reader = _Reader(unicodedata.normalize("NFC", text.replace("\r\n", "\n")))
    nodes = reader.row(None, math=False)
    while nodes and isinstance(nodes[-1], Break):
        nodes = nodes[:-1]
    return nodes


DEEPEST = 20  # levels of braces and arguments


class _Reader:
    """A place in the text; each method reads on from there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def row(self, end: str | None, *, math: bool) -> tuple[Node, ...]:
        """Nodes up to ``end``, which is read too."""
        nodes: list[Node] = []
        start = self.at
        self._descend()
        while end is None or not self._meets(end):
            if self.at >= len(self.text):
                if end is None:
                    return tuple(nodes)
                raise VkitError(f"{end!r} is missing after {self.text[start - 1 : start + 20]!r}; add it")
            self._item(nodes, math)
        self.at += len(end)
        self.depth -= 1
        return tuple(nodes)

    def _descend(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            here = self.text[self.at :][:20]
            raise VkitError(f"mathematics stands {DEEPEST} levels deep at {here!r}; write it flatter")

    def _meets(self, end: str) -> bool:
        after = self.text[self.at + len(end) : self.at + len(end) + 1]
        return self.text.startswith(end, self.at) and not (end[-1].isalpha() and after.isalpha())

    def _item(self, nodes: list[Node], math: bool) -> None:
        """Read one thing and add it."""
        character = self.text[self.at]
        self.at += 1
        if character == "\\":
            self._command(nodes, math)
        elif character == "\n" and not math:
            nodes.append(Break())
        elif character in " \n" or character in SPACE_CHARACTERS or (character == "~" and math):
            _space(nodes, 0.25)
        elif character == "$":
            self._dollar(nodes)
        elif character == "{" and math:
            nodes.append(Group(self.row("}", math=True)))
        elif character == "}" and math:
            raise VkitError(
                f"'}}' closes nothing in {self.text[max(0, self.at - 20) : self.at]!r}; remove it"
            )
        elif character in "^_" and self._is_script(nodes, character, math):
            self._script(nodes, character, self._argument(character) if math else self._plain_script())
        elif character == "√":
            nodes.append(Root(self._radicand()))
        elif character in "∛∜":
            nodes.append(Root(self._radicand(), (Run("3" if character == "∛" else "4"),)))
        elif character in SUPERSCRIPTS or character in SUBSCRIPTS:
            self.at -= 1
            kind = SUPERSCRIPTS if character in SUPERSCRIPTS else SUBSCRIPTS
            body: list[Node] = []
            while self.at < len(self.text) and self.text[self.at] in kind:
                _add(body, kind[self.text[self.at]])
                self.at += 1
            self._script(nodes, "^" if kind is SUPERSCRIPTS else "_", tuple(body))
        else:
            _add(nodes, "−" if character == "-" and math else character)

    def _command(self, nodes: list[Node], math: bool) -> None:
        name = self._name()
        if name in ("(", "["):
            nodes += self.row("\\)" if name == "(" else "\\]", math=True)
        elif name == "\\":
            nodes.append(Break())
        elif name in ESCAPED:
            _add(nodes, name if name != "|" else "∥")
        elif name in SPACES:
            _space(nodes, SPACES[name])
        elif name in SYMBOLS:
            _add(nodes, SYMBOLS[name])
            if SYMBOLS[name] in PREFIXES or (math and self.text[self.at :].lstrip()[:1].isalnum()):
                self._skip_spaces()
        elif name in OPERATORS:
            self._skip_spaces()
            if nodes and not isinstance(nodes[-1], Space | Break):
                nodes.append(Space(0.22))
            _add(nodes, OPERATORS[name])
            nodes.append(Space(0.22))
        elif name in FUNCTIONS:
            self._skip_spaces()
            _add(nodes, name)
            if self.text[self.at : self.at + 1].isalnum() or self.text[self.at : self.at + 1] == "\\":
                nodes.append(Space(0.17))
        elif name in ("frac", "dfrac", "tfrac", "cfrac"):
            above = self._argument("\\" + name)
            nodes.append(Fraction(above, self._argument("\\" + name)))
        elif name == "sqrt":
            self._skip_spaces()
            degree: tuple[Node, ...] = ()
            if self.text[self.at : self.at + 1] == "[":
                self.at += 1
                degree = self.row("]", math=True)
            nodes.append(Root(self._argument("\\sqrt"), degree))
        elif name in MARKS:
            nodes.append(Over(self._argument("\\" + name), MARKS[name]))
        elif name in TEXT | PLAIN:
            nodes.append(Group(self._argument("\\" + name, math=name in PLAIN)))
        elif name == "left":
            left = self._fence()
            body = self.row("\\right", math=True)
            nodes.append(Fence(left, body, self._fence()))
        elif name in ("displaystyle", "rm", "limits"):
            self._skip_spaces()
        else:
            raise VkitError(f"LaTeX command \\{name} cannot be drawn; write it in plain text")

    def _name(self) -> str:
        """The command's name: letters, or one other character."""
        start = self.at
        while self.at < len(self.text) and self.text[self.at].isascii() and self.text[self.at].isalpha():
            self.at += 1
        if self.at == start:
            if start == len(self.text):
                raise VkitError("the text ends in a backslash; write \\backslash, or remove it")
            self.at += 1
        return self.text[start : self.at]

    def _fence(self) -> str:
        self._skip_spaces()
        width = 2 if self.text[self.at : self.at + 1] == "\\" else 1
        sign = self.text[self.at : self.at + width]
        if sign not in FENCES:
            raise VkitError(
                f"delimiter {sign!r} after \\left or \\right cannot be drawn; write it in plain text"
            )
        self.at += width
        return FENCES[sign]

    def _argument(self, owner: str, *, math: bool = True) -> tuple[Node, ...]:
        """A group in braces, or one thing, as LaTeX has it."""
        self._skip_spaces()
        if self.at >= len(self.text) or self.text[self.at] in "}$":
            raise VkitError(
                f"{owner} has nothing to work on at the end of {self.text[: self.at][-20:]!r}; add it"
            )
        if self.text[self.at] == "{":
            self.at += 1
            return self.row("}", math=math)
        nodes: list[Node] = []
        self._descend()
        self._item(nodes, math=True)
        self.depth -= 1
        return tuple(nodes)

    def _dollar(self, nodes: list[Node]) -> None:
        """Mathematics between dollars; a dollar that opens none is money."""
        if self.text.startswith("$", self.at) and (end := self.text.find("$$", self.at + 1)) > 0:
            self.at += 1
            nodes += self.row("$$", math=True)
            return
        end = self.text.find("$", self.at)
        while end > 0 and self.text[end - 1] == "\\":
            end = self.text.find("$", end + 1)
        opens = end > self.at and not self.text[self.at].isspace()
        if opens and not self.text[end - 1].isspace() and not self.text[end + 1 : end + 2].isdigit():
            nodes += self.row("$", math=True)
        else:
            _add(nodes, "$")

    def _is_script(self, nodes: list[Node], sign: str, math: bool) -> bool:
        """Outside of mathematics a sign may be just itself: a blank "____", a file_name."""
        if math:
            return True
        before = self.text[self.at - 2] if self.at > 1 else " "
        after = self.text[self.at : self.at + 2].ljust(2)
        if not nodes or isinstance(nodes[-1], Space | Break) or before in "^_":
            return False
        if sign == "^":
            return after[0] in "{(\\+-−" or after[0].isalnum()
        return after[0] == "{" or after[0].isdigit() or (after[0].isalpha() and not after[1].isalpha())

    def _plain_script(self) -> tuple[Node, ...]:
        """What an exponent reaches over in plain text: x^-10, x^(n + 1), x^{n}."""
        if self.text[self.at] in "{\\":
            return self._argument("^")
        if self.text[self.at] == "(":
            return self._radicand()
        nodes: list[Node] = []
        if self.text[self.at] in "+-−":
            _add(nodes, "+" if self.text[self.at] == "+" else "−")
            self.at += 1
        number = self.text[self.at : self.at + 1].isdigit()
        while self.at < len(self.text) and self.text[self.at].isalnum():
            _add(nodes, self.text[self.at])
            self.at += 1
            if not number or not self.text[self.at : self.at + 1].isdigit():
                break
        return tuple(nodes)

    def _radicand(self) -> tuple[Node, ...]:
        """What a plain sign reaches over: a bracket (the layout says as much), a number or a letter."""
        if self.text[self.at : self.at + 1] == "(":
            self.at += 1
            return self.row(")", math=True)
        if self.text[self.at : self.at + 1] in ("{", "\\"):
            return self._argument("√")
        nodes: list[Node] = []
        if self.text[self.at : self.at + 1] in ("-", "−"):
            _add(nodes, "−")
            self.at += 1
        start = self.at
        while self.at < len(self.text) and (self.text[self.at].isdigit() or self.text[self.at] == "."):
            if self.text[self.at] == "." and not self.text[self.at + 1 : self.at + 2].isdigit():
                break  # the end of a sentence
            _add(nodes, self.text[self.at])
            self.at += 1
        if self.at == start and self.text[self.at : self.at + 1].isalpha():
            _add(nodes, self.text[self.at])
            self.at += 1
        if not nodes:
            raise VkitError(
                f"√ has nothing under it in {self.text[max(0, start - 20) : start + 5]!r}; add it"
            )
        return tuple(nodes)

    def _script(self, nodes: list[Node], sign: str, body: tuple[Node, ...]) -> None:
        if body == (Symbol("∘"),):
            _add(nodes, "°")
            return
        above, below = (body, ()) if sign == "^" else ((), body)
        last = nodes.pop() if nodes and not isinstance(nodes[-1], Space | Break) else None
        if isinstance(last, Scripts):
            if last.above if sign == "^" else last.below:
                here = self.text[max(0, self.at - 20) : self.at]
                raise VkitError(f"two scripts stand at the same place in {here!r}; set braces: x^{{2^3}}")
            nodes.append(Scripts(last.base, last.above or above, last.below or below))
            return
        if isinstance(last, Run) and len(last.text) > 1:
            nodes.append(Run(last.text[:-1]))
            last = Run(last.text[-1])
        nodes.append(Scripts((last,) if last else (), above, below))

    def _skip_spaces(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\n"):
            self.at += 1


def _space(nodes: list[Node], ems: float) -> None:
    if nodes and isinstance(nodes[-1], Space):
        nodes[-1] = Space(max(ems, nodes[-1].ems))
    else:
        nodes.append(Space(ems))


def _add(nodes: list[Node], text: str) -> None:
    """Characters, the font's joined into runs."""
    for character in "".join(ALIASES.get(c, c) for c in text):
        if character in GLYPHS:
            nodes.append(Symbol(character))
        elif in_font(character):
            last = nodes.pop() if nodes and isinstance(nodes[-1], Run) else Run("")
            assert isinstance(last, Run)
            nodes.append(Run(last.text + character))
        elif character in INVISIBLE:
            continue
        elif (parts := unicodedata.normalize("NFD", character))[1:] in ACCENTS and in_font(parts[0]):
            nodes.append(Over((Run(parts[0]),), ACCENTS[parts[1:]]))
        elif "FRACTION" in unicodedata.name(character, "") and character not in "⁄⅟":
            above, below = unicodedata.normalize("NFKC", character).split("⁄")
            nodes.append(Fraction((Run(above),), (Run(below),)))
        else:
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise VkitError(f"character {character!r} ({name}) cannot be drawn; write it in plain text")
