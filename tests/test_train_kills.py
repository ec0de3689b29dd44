"""Runs that are killed at random moments, saves included, end as one that never was.

`python -m tests.kills --kills 50` does the same for longer.
"""

import pytest

from tests.kill_cases import assert_equal_runs, through_kills
from tests.training_data import write_pairs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("size", "kills"), [(1, 6), (2, 3)])
def test_killed_runs_end_in_exactly_the_weights_of_an_uninterrupted_one(tmp_path, size, kills):
    write_pairs(tmp_path, 9)
    steps = 3 * kills
    through_kills(tmp_path, tmp_path / "whole", steps, 0, size=size)
    met = through_kills(tmp_path, tmp_path / "killed", steps, kills, size=size)
    assert met["kills"] > 0
    assert_equal_runs(tmp_path / "whole", tmp_path / "killed")
