"""`--max-kl` and `--max-size`: the formats are chosen by measurement, and what was measured is kept in the package.

Sensitivities (sensitivity.py) say what every group costs alone; from them choose.py finds the best choices. How much
of the sum remains once the int4 weights are fitted to text, nobody knows before: so a choice is built and its backend
measured on the proof's tokens, the estimate is corrected, and the choice made again, until it fits.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from castline.compile.assignment import Assignment, role
from castline.compile.backends import CPU_WEIGHTS, graph_path, open_measurable
from castline.compile.choose import Option, Point, frontier, smallest_within
from castline.compile.cpu_weights import write_cpu_weights
from castline.compile.fidelity import Reference, measure
from castline.compile.formats import (
    INT4_BLOCKS,
    TENSORRT_TARGETS,
    Target,
    TensorFormat,
    WeightFormat,
    compute_format,
    stored_format,
)
from castline.compile.frontier_picture import Choice, ChosenPoint, Trial
from castline.compile.graph import write_graph
from castline.compile.graph_contrib import graph_variant
from castline.compile.package import (
    SCHEMA_VERSION,
    Backend,
    Generation,
    Manifest,
    Provenance,
    file_entries,
    write_manifest,
)
from castline.compile.plan import Plan, target_size
from castline.compile.sensitivity import groups, sensitivities
from castline.compile.text_tokens import Ids
from castline.compile.weights import Weights
from castline.errors import CompileError
from castline.model.checkpoint import CheckpointReader
from castline.model.config import ModelConfig
from castline.model.layouts import layout_shapes
from castline.progress import progress

_SEQUENCES, _LENGTH = 2, 128  # of text that sensitivities are measured on
_TRIALS = 4  # after which a choice that fits is taken; twice as many where none does
_AIM = 0.97  # of the allowed divergence: estimates are a little off
_NEAR = 0.9  # a choice that uses so much of the allowed divergence is good enough
_LEFT_BY_GPTQ = 0.3  # of what rounding to int4 costs, before anything is measured


class AutomaticChoice:
    """Chooses the formats of one model."""

    def __init__(self, reader: CheckpointReader, plan: Plan, weights: Weights, reference: Reference) -> None:
        """`plan` is that of `most_precise`; `reference` holds the tokens to measure on, and what is to come out."""
        self._reader, self._plan, self._weights, self._reference = reader, plan, weights, reference
        self._model = reader.config
        self._target = plan.config.targets[0]
        self._trials: list[Trial] = []

    def choose(self, ids: Ids) -> tuple[Assignment, Choice]:
        """The formats for the plan's `max_kl` or `max_size`, and how they came about.

        Args:
            ids: text [sequences, length] to measure sensitivities on

        Raises:
            CompileError: no choice is within the limit; the message says what can be reached.
        """
        offered = candidates(self._model, self._plan.config.targets)
        few = ids[:_SEQUENCES, :_LENGTH]
        found = sensitivities(
            self._reader, few, {label: [x for x in own if x.kind != "f32"] for label, own in offered.items()}
        )
        options, rest = self._options(offered, found)
        config = self._plan.config
        if config.max_size is not None:
            point, measured, left = self._within_size(options, rest, config.max_size)
        else:
            assert config.max_kl is not None
            point, measured, left = self._within_kl(options, rest, config.max_kl)
        points = frontier(_corrected(options, left), rest)
        choice = Choice(
            target=self._target,
            max_kl=config.max_kl,
            max_size=config.max_size,
            tokens=self._reference.ids.size,
            sensitivity_tokens=few.size,
            left_of_rounding=left,
            trials=self._trials,
            chosen=ChosenPoint(
                size=self._size(point.formats),
                estimated=point.kl,
                measured=measured,
                formats={label: str(stored) for label, stored in point.formats.items()},
            ),
            frontier=[(point.size, point.kl) for point in points],
            uniform=_uniform(_corrected(options, left), rest),
            sensitivities={label: {str(stored): kl for stored, kl in own.items()} for label, own in found.items()},
        )
        return self._assignment(point.formats), choice

    def _within_size(
        self, options: Mapping[str, Sequence[Option]], rest: int, limit: int
    ) -> tuple[Point, float, float]:
        """The choice, its measured KL, and what is left of rounding's."""
        left = self._first_guess()
        points = frontier(_corrected(options, left), rest)
        point = next((point for point in points if self._size(point.formats) <= limit), None)
        if point is None:
            smallest = points[-1]
            raise CompileError(
                f"--max-size: expected at least {smallest.size / 1e6:,.2f} MB, which {self._target} takes with every "
                f"matrix in its smallest format (the KL would be about {smallest.kl:.2g}), but got "
                f"{limit / 1e6:,.2f} MB"
            )
        measured = self._measured(point)
        return point, measured, _left(options, point, measured, left)

    def _within_kl(
        self, options: Mapping[str, Sequence[Option]], rest: int, limit: float
    ) -> tuple[Point, float, float]:
        """As `_within_size`; tried is what lies between the largest choice that failed and the smallest that fits."""
        left = self._first_guess()
        best: tuple[Point, float] | None = None
        failed, closest = 0, math.inf
        for attempt in range(2 * _TRIALS):
            points = frontier(_corrected(options, left), rest)
            between = [p for p in points if failed < p.size and (best is None or p.size < best[0].size)]
            if not between or (best is not None and (attempt >= _TRIALS or best[1] >= _NEAR * limit)):
                break
            # Where the estimate has nothing to propose: the most precise, or half-way to what fits.
            point = smallest_within(between, _AIM * limit) or between[0 if best is None else len(between) // 2]
            measured = self._measured(point)
            if measured <= limit:
                best = point, measured
            else:
                failed, closest = point.size, min(closest, measured)
            left = _left(options, point, measured, left)
        if best is None:
            raise CompileError(
                f"--max-kl: expected at least {closest:.3g}, the mean KL of the closest of {len(self._trials)} choices "
                f"that were built and measured for {self._target}, but got {limit:g}"
            )
        return *best, left

    def _first_guess(self) -> float:
        return _LEFT_BY_GPTQ if self._weights.is_fitted else 1.0

    def _measured(self, point: Point) -> float:
        """The mean KL of the target's backend, built with a choice."""
        assignment = self._assignment(point.formats)
        with tempfile.TemporaryDirectory() as folder:
            self._write(Path(folder), assignment)
            with progress(f"measuring {self._target}", self._reference.ids.size, "tokens") as advance:
                found = measure(open_measurable(Path(folder), self._target), self._reference, advance)
        self._trials.append(Trial(size=self._size(point.formats), estimated=point.kl, measured=found.mean_kl))
        return found.mean_kl

    def _write(self, folder: Path, assignment: Assignment) -> None:
        """As much of a package as measuring its backend takes."""
        if self._target != "cpu":
            compute = compute_format(self._target, assignment.main)
            path, context = graph_path(folder, self._target), self._plan.config.context
            variant = graph_variant(self._target)
            write_graph(
                self._reader, path, assignment, self._weights, compute=compute, context=context, variant=variant
            )
            return
        write_cpu_weights(self._reader, folder / CPU_WEIGHTS, assignment, self._weights)
        backend = Backend(
            weights=assignment.main,
            status="built_not_run",
            file=CPU_WEIGHTS,
            kv=self._plan.config.kv,
            tensors=assignment.counts,
        )
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            castline_version="0",
            model=self._model,
            generation=Generation(eos_ids=(), bos_id=None, max_context=self._plan.config.context),
            tokenizer=None,
            files=file_entries(folder),
            backends={"cpu": backend},
            provenance=Provenance(checkpoint_sha256="", compile={}),
            tools={},
        )
        write_manifest(folder, manifest)

    def _options(
        self,
        offered: Mapping[str, Sequence[TensorFormat]],
        found: Mapping[str, Mapping[TensorFormat, float]],
    ) -> tuple[dict[str, list[Option]], int]:
        """The options of every group with their bytes in the target's files, and the bytes of the rest."""
        base = {label: own[0] for label, own in offered.items()}
        whole = self._size(base)
        shapes = layout_shapes(self._model, "llama")
        options, taken = {}, 0
        for group in groups(self._model):
            weights = sum(shapes[name][0] * shapes[name][1] for name in group.names)
            taken += 4 * weights  # any number will do: only differences of sizes are known
            options[group.label] = [
                Option(
                    stored,
                    4 * weights + self._size(base | {group.label: stored}) - whole,
                    found[group.label].get(stored, 0.0),
                )
                for stored in offered[group.label]
            ]
        return options, whole - taken

    def _size(self, formats: Mapping[str, TensorFormat]) -> int:
        return target_size(self._model, self._target, self._assignment(formats), self._plan.config.context)

    def _assignment(self, formats: Mapping[str, TensorFormat]) -> Assignment:
        return _assignment(self._model, formats)


def sensitivity_flops(model: ModelConfig, targets: Sequence[Target]) -> float:
    """Floating point operations that measuring a model's sensitivities takes, about."""
    own = groups(model)
    shapes = layout_shapes(model, "llama")
    layers = sum(math.prod(shapes[name]) for group in own if group.layer is not None for name in group.names)
    per_token = layers / 2 + model.hidden_size * model.vocab_size  # half of the layers, and the head
    formats = sum(len(tried) for tried in candidates(model, targets).values())
    return 2.0 * per_token * formats * _SEQUENCES * _LENGTH


def most_precise(model: ModelConfig, targets: Sequence[Target]) -> Assignment:
    """The largest choice there is: what a package takes at most."""
    return _assignment(model, {label: own[0] for label, own in candidates(model, targets).items()})


def candidates(model: ModelConfig, targets: Sequence[Target]) -> dict[str, list[TensorFormat]]:
    """The formats that every target can store each group in, the most precise first."""
    kinds: tuple[WeightFormat, ...] = ("f32", "f16", "int8")
    every = [*map(TensorFormat, kinds), *(TensorFormat("int4", block) for block in INT4_BLOCKS)]
    shapes = layout_shapes(model, "llama")
    found = {}
    for group in groups(model):
        rows = {shapes[name][1] for name in group.names}
        found[group.label] = [
            stored for stored in every if all(_fits(stored, group.names, rows, target) for target in targets)
        ]
    return found


def _fits(stored: TensorFormat, names: Sequence[str], rows: set[int], target: Target) -> bool:
    kind = role(names[0])
    assert kind is not None
    try:
        if stored_format(stored, kind, target) != stored:
            return False
    except CompileError:
        return False
    multiple = stored.block if target in TENSORRT_TARGETS else 32
    return stored.kind != "int4" or all(size % multiple == 0 for size in rows)


def _assignment(model: ModelConfig, formats: Mapping[str, TensorFormat]) -> Assignment:
    stored = {name: TensorFormat("f32") for name in layout_shapes(model, "llama")}
    for group in groups(model):
        stored |= dict.fromkeys(group.names, formats[group.label])
    of_layers = {formats[group.label].kind for group in groups(model) if group.layer is not None}
    coarsest: Sequence[WeightFormat] = ("int4", "int8", "f16", "f32")
    return Assignment(stored, next(kind for kind in coarsest if kind in of_layers))


def _corrected(options: Mapping[str, Sequence[Option]], left: float) -> dict[str, list[Option]]:
    """Options whose int4 costs `left` of what rounding does."""
    return {
        label: [option._replace(kl=option.kl * left) if option.stored.kind == "int4" else option for option in own]
        for label, own in options.items()
    }


def _left(options: Mapping[str, Sequence[Option]], point: Point, measured: float, before: float) -> float:
    """How much of int4's rounding is left, by a measurement."""
    rounded, others = 0.0, 0.0
    for label, own in options.items():
        option = next(option for option in own if option.stored == point.formats[label])
        if option.stored.kind == "int4":
            rounded += option.kl
        else:
            others += option.kl
    return max((measured - others) / rounded, 0.01) if rounded > 0 else before


def _uniform(options: Mapping[str, Sequence[Option]], rest: int) -> dict[str, tuple[int, float]]:
    """Size and estimated KL with one format for all layers, embeddings and head int8 at least."""
    layers = next(own for label, own in options.items() if label.startswith("layers."))
    found = {}
    for wanted in (option.stored for option in layers):
        size, kl = rest, 0.0
        for own in options.values():
            fitting = [option for option in own if option.stored == wanted]
            option = (fitting or [option for option in own if option.stored.kind == "int8"] or list(own))[0]
            size, kl = size + option.size, kl + option.kl
        found[str(wanted)] = (size, kl)
    return found
