"""From a problem to what the user says to the model.

    request = build_request(sample, "cot")

"direct", "cot" and "finetuned" are the inference prompts of Tey's study, Figure 8; "plain" adds no word to
the problem, as Math-PUMA's records have it. The picture stands first: the study's model moves it there
whatever the prompt says.
"""

from __future__ import annotations

from vkit.models.protocol import Picture, Request, Text
from vkit.records import Sample

# Instruction with choices, instruction without, and how the answer starts.
PROMPTS = {
    "plain": ("", "", ""),
    "direct": (
        "Please directly answer the question and provide the correct option letter, e.g., A, B, C, D.",
        "Please directly answer the question.",
        "Answer:",
    ),
    "cot": (
        "Please first conduct reasoning, and then answer the question and provide the correct option letter, "
        "e.g., A, B, C, D, at the end.",
        "Please first conduct reasoning, and then answer the question and provide the answer at the end.",
        "Answer: Let's think step by step.",
    ),
    "finetuned": (
        "Solve this problem, and return the answer at the end of your response, e.g. Answer: A, B, C or D",
        "Solve this problem, and return the answer at the end of your response, e.g. Answer: 12",
        "Answer:",
    ),
}


def build_request(sample: Sample, prompt: str) -> Request:
    """The request for one sample in one of `PROMPTS`; only the problem and its choices are ``question``.

    A problem without choices gets the same prompt without the words about letters. Where the question is
    empty the picture says it all, choices too, and neither is written.

    Raises:
        VkitError: the image cannot be read.

    >>> request = build_request(Sample("1", "Find x.", ("3", "4")), "direct")
    >>> [part.text for part in request.parts if part.question]
    ['Find x.', 'A. 3\\nB. 4']
    """
    with_choices, without_choices, ending = PROMPTS[prompt]
    picture = [] if sample.image is None else [Picture(sample.open_image())]
    instruction = with_choices if sample.choices else without_choices
    parts: list[Text | Picture] = [*picture, Text(f"{instruction}\nQuestion: " if instruction else "")]
    parts.append(Text(sample.question, question=True))
    if sample.choices and sample.question:
        lines = (f"{chr(65 + i)}. {choice}" for i, choice in enumerate(sample.choices))
        parts += [Text("\nChoices:\n"), Text("\n".join(lines), question=True)]
    parts.append(Text(f"\n{ending}" if ending else ""))
    return Request(sample.id, tuple(part for part in parts if not isinstance(part, Text) or part.text))
