"""A small tokenizer that spells every text, and can say whole sentences in one token each.

    tokenizer = build_tokenizer("</s>", phrases=PHRASES)
    tokenizer.encode("a = 35, b = 72. Find the unknown value.").tokens      # 12 tokens

Byte-level BPE, trained on the few sentences below each time (in milliseconds, always to the same result);
each digit is a token of its own. Training time grows with every token, so the sentences that all problems of
the miniature repeat, the system prompt first of all, are added tokens of the tiny preset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vkit.models.tinyllava_prompt import BEFORE_ANSWER, BEFORE_USER

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = 640  # tokens at most

# What frames every prompt, and the sentences of vkit.synthesis.miniature, which a test holds against them.
# The question of its vision-rich versions stays in words: attention to text needs some text to go to.
PHRASES = (
    BEFORE_USER,
    BEFORE_ANSWER,
    "Two angles of a triangle are a = ",
    "Two of three angles on a line are a = ",
    "Two of three parts of a right angle are a = ",
    "The sides of a rectangle are a = ",
    " and b = ",
    " degrees. Find the third angle in degrees.",
    " degrees. Find the third part in degrees.",
    ". Find its perimeter.",
    "a = ",
    ", b = ",
    " unknown",
    " value",
    ". Answer: ",
    ". ",
)

# What BPE learns its merges from: the words of problems and their solutions.
TEXT = """The answer is (A). (B) (C) (D)
Find x. Find y. Find the value of x. Find the measure of angle ABC. Find m \\angle ABC. Find \\widehat {AB}.
Find the length of side BC. Find the area of the triangle. Find the perimeter of the rectangle.
Question: Choices: Answer: Solution: Hint: Please answer the question directly. Let's think step by step.
Please directly answer the question and provide the correct option letter, e.g., A, B, C, D.
First perform reasoning, then finally select the correct choice from the given options.
According to the question shown in the image, what is the degree of the unknown angle in the figure?
As shown in the figure, in triangle ABC, angle A equals 35 degrees and angle B equals 72 degrees.
The sum of the angles of a triangle is 180 degrees. 35 + 72 = 107; 180 - 107 = 73; therefore angle C is 73.
In the right triangle, the hypotenuse is the square root of the sum of the squares of the other two sides.
By the Pythagorean theorem, a^2 + b^2 = c^2, so that the diameter of the circle is 10 and its radius is 5.
The quadrilateral is a parallelogram, and its opposite sides are parallel and equal; the rhombus is a square.
The line is perpendicular to the tangent at the point of the chord; the arc and the sector have one centre.
Equals PerpendicularTo Parallel Similar Congruent LengthOf MeasureOf AreaOf Triangle Circle Line Angle Point
The volume of the cylinder, the cone, the sphere and the cube. The height, the width, the base, the slope.
The function is y = 2x + 3. The graph meets the axis at the origin. Solve for x. The ratio is 3:4."""


def build_tokenizer(end: str, *, vocabulary: int = VOCABULARY, phrases: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer.

    Args:
        end: token 0, the family's end of sequence.
        vocabulary: tokens at most, of which 257 and the phrases are taken.
        phrases: texts that become one token wherever they stand.

    >>> tokenizer = build_tokenizer("</s>", phrases=["Find x."])
    >>> tokenizer.decode(tokenizer.encode("73°. Find x.").ids)
    '73°. Find x.'
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(phrases),
        special_tokens=[end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases])
    return tokenizer
