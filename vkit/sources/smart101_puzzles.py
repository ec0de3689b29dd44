"""What is known of the 101 puzzles of SMART-101 (Cherian et al. 2023) before any data is read.

    SKILLS[58], SKILLS[82]          # ("math", "order")
    58 in SEQUENCE_END              # False: its answer is one class, not a sequence

Skills: column ``type`` of the release's ``SMART_info_v2.csv``. The published tables show eight of them and
leave out ``order``. Encodings and splits: the release's code, github.com/merlresearch/SMART.
"""

from __future__ import annotations

_PUZZLES_OF_SKILL = {
    "algebra": "7 9 10 12 15 27 28 47 49 61 63 72 76 85 101",
    "counting": "2 3 4 5 8 13 14 23 24 29 33 34 36 41 42 45 50 52 53 57 60 79 80 89 97 99",
    "logic": "40 56 62 64 74 81 87 91 100",
    "math": "6 11 30 31 38 43 46 58 59 67 71 88 90 98",
    "measure": "20 21 22 25 26 92 93 94",
    "order": "18 51 82",
    "path": "1 16 19 32 35 37 39 48 54 65 66 73",
    "pattern": "77 78 83 84 86",
    "spatial": "17 44 55 68 69 70 75 95 96",
}

# Puzzle -> skill, puzzles in order.
SKILLS = dict(sorted((int(p), skill) for skill, ps in _PUZZLES_OF_SKILL.items() for p in ps.split()))

# Puzzles whose answer is a sequence of classes, and the class that fills it up to SEQUENCE_STEPS. None: the
# largest value among the puzzle's right answers. In 18 and 63 that class is also a value of its own.
SEQUENCE_END: dict[int, int | None] = {16: 26, 18: 5, 35: 5, 39: 26, 63: None, 100: 26}
SEQUENCE_PUZZLES = frozenset(SEQUENCE_END)
SEQUENCE_STEPS = 10

ICON_PUZZLE = 1  # an option is the name of an icon
HOUR_PUZZLE = 25  # "3:00 PM"
OPERATION_PUZZLE = 58  # "x4"
OPERATIONS = "+-x/"

# O_acc compares the predicted class itself with the letter's place, 0 to 4.
DIRECT_PUZZLES = frozenset({32, 44, 51, 66, 68, 69, 82, 84, 95, 98})

# The release's puzzle split: these are held out, the other 77 are trained on.
VALIDATION_PUZZLES = frozenset({7, 43, 64})
TEST_PUZZLES = frozenset({61, 62, *range(65, 68), *range(69, 78), *range(94, 100), 101})

# The classes of Icons-50 in the release's order, which took README.txt for one of them.
_ICONS = """
    airplane arrow_directions ball biking bird blade boat books building bunny_ears cartwheeling clock
    cloud disk drinks emotion_face envelope family fast_train feline flag flower footwear golfing hand hat
    heart holding_hands japanese_ideograph kiss lock mailbox marine_animals medal money monkey moon
    mountain numbers phone prohibit_sign README.txt star surfing tree umbrella vehicle water_polo worker
    wrestling writing_utensil
"""
ICON_CLASSES = tuple(_ICONS.split())
