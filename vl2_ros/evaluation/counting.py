"""Choose held-out scenes in which each number of a kind occurs equally often.

Most kinds occur once in a scene, so that counting what is there asks for "one" again and again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from vl2_ros.sim.kinds import KINDS
from vl2_ros.sim.scene import sample_scene
from vl2_ros.sim.tabletop import TabletopFrame

#: Numbers that are asked for: 0 to 4. Five of a kind are in one scene of some hundred.
NUMBERS = range(5)
#: Four of a kind are in one scene of about sixty.
_SEEDS_PER_QUESTION = 1000


def draw_counting_views(
    render: Callable[[int], TabletopFrame], first_seed: int, each: int
) -> Iterator[tuple[TabletopFrame, str]]:
    """Yield frames with the kind to count in them, every number of `NUMBERS` `each` times.

    Args:
        render: seed to labelled frame.
        first_seed: scenes are searched from here on, as far as needed.
        each: questions for each number.
    """
    missing = dict.fromkeys(NUMBERS, each)
    rng = np.random.default_rng(first_seed)
    for seed in range(first_seed, first_seed + _SEEDS_PER_QUESTION * each):
        # A scene is sampled faster than rendered, but some of its objects are hidden.
        sampled = Counter(placed.kind for placed in sample_scene(seed).pieces if placed.is_labelled)
        if _pick_number(sampled, missing) is None:
            continue
        view = render(seed)
        seen = Counter(item.kind for item in view.objects)
        number = _pick_number(seen, missing)
        if number is None:
            continue
        missing[number] -= 1
        yield view, str(rng.choice([kind for kind in KINDS if seen[kind] == number]))
        if not any(missing.values()):
            return


def _pick_number(kinds: Counter[str], missing: dict[int, int]) -> int | None:
    """Return the largest number, being the rarest, that is missing and that a kind has."""
    present = {kinds[kind] for kind in KINDS}
    return max((n for n, count in missing.items() if count and n in present), default=None)
