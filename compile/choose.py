"""Choosing the formats of a model's groups for a size or a divergence.

What groups cost alone adds up, nearly: so the best choice for every trade between bytes and divergence is found by
taking, from the most precise formats on, always the step that costs the least divergence per byte saved, among the
steps on each group's convex hull. All points on that way are the frontier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from castline.compile.formats import TensorFormat


class Option(NamedTuple):
    """A format of a group, with what it costs."""

    stored: TensorFormat
    size: int
    """Bytes."""
    kl: float
    """Nats per token."""


@dataclass(frozen=True)
class Point:
    """A choice for all groups."""

    size: int
    """Bytes of the whole."""
    kl: float
    """The sum of what the groups cost alone."""
    formats: Mapping[str, TensorFormat]


def frontier(options: Mapping[str, Sequence[Option]], rest: int) -> list[Point]:
    """All best choices, from the most precise to the smallest.

    Args:
        options: {group: its options}
        rest: bytes of what is not chosen
    """
    hulls = {group: _hull(own) for group, own in options.items()}
    steps = [
        (_slope(before, after), group, place)
        for group, hull in hulls.items()
        for place, (before, after) in enumerate(pairwise(hull), start=1)
    ]
    chosen = {group: hull[0] for group, hull in hulls.items()}
    points = [_point(chosen, rest)]
    for _, group, place in sorted(steps, key=lambda step: (step[0], step[2])):
        chosen[group] = hulls[group][place]
        points.append(_point(chosen, rest))
    return points


def smallest_within(points: Sequence[Point], kl: float) -> Point | None:
    """The smallest choice that costs no more than `kl`."""
    return next((point for point in reversed(points) if point.kl <= kl), None)


def _point(chosen: Mapping[str, Option], rest: int) -> Point:
    return Point(
        size=rest + sum(option.size for option in chosen.values()),
        kl=sum(option.kl for option in chosen.values()),
        formats={group: option.stored for group, option in chosen.items()},
    )


def _slope(before: Option, after: Option) -> float:
    return (after.kl - before.kl) / (before.size - after.size)


def _hull(options: Sequence[Option]) -> list[Option]:
    """The options on the lower convex hull of divergence over size, the largest first."""
    hull: list[Option] = []
    for option in sorted(options, key=lambda option: (-option.size, option.kl)):
        if hull and option.size == hull[-1].size:
            continue
        while hull and option.kl <= hull[-1].kl:  # smaller and no worse
            hull.pop()
        while len(hull) > 1 and _slope(hull[-1], option) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(option)
    return hull
