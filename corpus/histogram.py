"""Histograms of measurements as the report draws them: counts in bins, with the thresholds on the same axis."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from castline.corpus.rules.apply import missed
from castline.corpus.rules.rule_set import Bounds

BINS = 48
LOGARITHMIC_FROM = 50  # times between the 1st and the 99th percentile of a count


@dataclass(frozen=True)
class Histogram:
    """Bars and marks in units of the axis: x from 0 to 1, heights from 0 to 1."""

    name: str
    documents: int
    outside: int  # documents that the bounds refuse
    heights: list[float]
    refused: list[bool]  # whether most documents of a bar are outside
    thresholds: list[tuple[float, float]]  # place on the axis, value
    low: float
    high: float
    logarithmic: bool


def histogram(name: str, values: npt.NDArray[Any], bounds: Bounds) -> Histogram:
    """Bin `values` (shape [documents], not empty); extremes are drawn in the outermost bars.

    The axis covers the 1st to the 99th percentile and the bounds, on a logarithmic scale where counts spread widely.
    """
    values = values.astype(np.float64)
    limits = [bound for bound in (bounds.min, bounds.max) if bound is not None]
    low, high = (float(value) for value in np.percentile(values, (1, 99)))
    logarithmic = bool(high > LOGARITHMIC_FROM * max(low, 1.0))
    near = [limit for limit in limits if not logarithmic or limit > 0]
    low, high = min([low, *near]), max([high, *near])
    if logarithmic:
        low = max(low, 1.0)
    if high <= low:
        high = low + 1.0
    scale = (np.log(low), np.log(high)) if logarithmic else (low, high)

    def place(value: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        moved = np.log(np.maximum(value, low)) if logarithmic else value
        return np.clip((moved - scale[0]) / (scale[1] - scale[0]), 0.0, 1.0)

    bins = np.minimum((place(values) * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    outside = missed(bounds, values)
    refused = np.bincount(bins[outside], minlength=BINS)
    thresholds = [(float(place(np.array([limit]))[0]), limit) for limit in limits]
    return Histogram(
        name=name.replace("_", " "),
        documents=len(values),
        outside=int(outside.sum()),
        heights=[round(float(count), 4) for count in np.sqrt(counts / counts.max())],
        refused=(2 * refused > counts).tolist(),
        thresholds=[(round(at, 4), limit) for at, limit in thresholds],
        low=low,
        high=high,
        logarithmic=logarithmic,
    )
