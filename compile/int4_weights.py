"""The int4 matrices of a checkpoint: chosen once for all backends that store the same ones on like grids."""

from castline.compile.assignment import Assignment
from castline.compile.calibrate import calibrated_int4
from castline.compile.quantize import Int4Matrix, round_int4
from castline.compile.text_tokens import TextTokens
from castline.model.checkpoint import CheckpointReader


class Int4Weights:
    """Gives matrices in int4: fitted to a text by GPTQ, or rounded where there is none."""

    def __init__(self, reader: CheckpointReader, text: TextTokens | None) -> None:
        """`text` is what to calibrate on."""
        self._reader = reader
        self._text = text
        self._fitted: list[tuple[Assignment, bool, dict[str, Int4Matrix]]] = []

    @property
    def method(self) -> str:
        """How the weights were chosen, for people."""
        if self._text is None:
            return "rounded to nearest"
        return f"GPTQ on {self._text.ids.size:,} tokens: {self._text.source}"

    def matrix(self, name: str, assignment: Assignment, *, symmetric: bool) -> Int4Matrix:
        """The matrix of that name, on grids with their zero in the middle (`symmetric`) or anywhere.

        `assignment` says what is stored how: a matrix is fitted to what the ones before it have become.
        """
        if self._text is None or ".layers." not in name:
            return round_int4(self._reader.tensor(name).float().numpy(), assignment[name].block, symmetric=symmetric)
        for known, middle, matrices in self._fitted:
            if (known.formats, middle) == (assignment.formats, symmetric):
                return matrices[name]
        fitted = dict(calibrated_int4(self._reader, self._text.ids, assignment, symmetric=symmetric))
        self._fitted.append((assignment, symmetric, fitted))
        return fitted[name]
