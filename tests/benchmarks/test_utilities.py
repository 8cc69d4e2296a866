"""When a method's median has reached a goal for good."""

import math

from benchmarks.utilities import share_to_reach


def test_a_goal_counts_once_it_is_kept():
    # Medians of three runs over 10, 20, 30, 40 of 40 steps: 1, 5, 2, 6. Above 4 for good from step 40 on, above 1.5
    # from step 20 on; 7 is never reached.
    found = {"steps": [10, 20, 30, 40], "value": [[0, 1, 9], [5, 5, 9], [0, 2, 3], [6, 6, 6]]}
    assert share_to_reach(found, 4.0, 40) == 1.0
    assert share_to_reach(found, 1.5, 40) == 0.5
    assert share_to_reach(found, 7.0, 40) == math.inf
