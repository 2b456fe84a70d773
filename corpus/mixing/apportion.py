"""A total of tokens divided exactly: in proportion to weights, none above its cap, to the last token."""

from collections.abc import Sequence
from fractions import Fraction


def apportion(total: int, masses: Sequence[Fraction], caps: Sequence[int | None]) -> list[int] | None:
    """Divide `total` in proportion to `masses`; what a cap keeps out goes to the others in the same way.

    Rounded by the largest remainder, ties to the first, so that the parts sum to the total.

    Returns:
        The parts, or None where masses above zero and caps do not let the total in.
    """
    parts = [0] * len(masses)
    free = [index for index, mass in enumerate(masses) if mass > 0]
    left = total
    while left and free:
        whole = sum(masses[index] for index in free)
        exact = {index: masses[index] * left / whole for index in free}
        full = {index: cap for index in free if (cap := caps[index]) is not None and exact[index] >= cap}
        if not full:
            by_remainder = sorted(free, key=lambda index: (int(exact[index]) - exact[index], index))
            for index in free:
                parts[index] = int(exact[index])
            for index in by_remainder[: left - sum(parts[index] for index in free)]:
                parts[index] += 1
            return parts
        for index, cap in full.items():
            parts[index] = cap
            left -= cap
        free = [index for index in free if index not in full]
    return None if left else parts
