"""Which tensor of a model is stored in which format: from the recipe, for all targets, and what each makes of it."""

from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

from castline.compile.config import CompileConfig
from castline.compile.formats import Role, Target, TensorFormat, WeightFormat, parse_format, stored_format
from castline.errors import CompileError
from castline.model.config import ModelConfig
from castline.model.layouts import layout_shapes

EMBEDDINGS = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_VECTOR = TensorFormat("f32")

# Embeddings and head suffer from few bits more than layers do: what they get unless something else is asked for.
_OUTER: dict[WeightFormat, WeightFormat] = {"int4": "int8", "fp8": "f16"}


@dataclass(frozen=True)
class Assignment:
    """The format of every tensor of a model, by its name in Llama's layout."""

    formats: dict[str, TensorFormat]
    main: WeightFormat
    """What was asked for of the layers: the format a package is known by."""

    def __getitem__(self, name: str) -> TensorFormat:
        """The format of one tensor."""
        return self.formats[name]

    @cached_property
    def int4_blocks(self) -> dict[str, int]:
        """The tensors in int4, with their blocks."""
        return {name: stored.block for name, stored in self.formats.items() if stored.kind == "int4"}

    @property
    def has_int4_layers(self) -> bool:
        """Whether there is anything to calibrate."""
        return any(".layers." in name for name in self.int4_blocks)

    @property
    def counts(self) -> dict[str, int]:
        """How many matrices have each format."""
        return dict(Counter(str(stored) for name, stored in self.formats.items() if role(name) is not None))

    def for_target(self, target: Target) -> "Assignment":
        """What a target makes of it."""
        main = stored_format(TensorFormat(self.main), "layer", target).kind
        formats = {
            name: stored_format(wanted, kind, target) if (kind := role(name)) is not None else wanted
            for name, wanted in self.formats.items()
        }
        return Assignment(formats, main)


def assign(model: ModelConfig, config: CompileConfig) -> Assignment:
    """Decide the format of every tensor: `weights`, then `embeddings` and `head`, then the patterns of `tensors`.

    Raises:
        CompileError: a head of its own for tied embeddings, or a pattern that fits no matrix.
    """
    shapes = layout_shapes(model, "llama")
    if model.tie_word_embeddings and config.head is not None:
        raise CompileError("--head: this model's head is its embeddings, stored once; choose with --embeddings")
    outer = _OUTER.get(config.weights, config.weights)
    wanted: dict[Role, WeightFormat] = {
        "layer": config.weights,
        "embeddings": config.embeddings or outer,
        "head": config.head or outer,
    }
    formats = {}
    for name in shapes:
        kind = role(name)
        formats[name] = _format(wanted[kind], config.block) if kind is not None else _VECTOR
    for pattern, text in config.tensors.items():
        fitting = [name for name in shapes if role(name) is not None and fnmatchcase(name, pattern)]
        if not fitting:
            raise CompileError(
                f"[compile.tensors] '{pattern}' fits no matrix of this model; their names are like {EMBEDDINGS} "
                "and model.layers.0.mlp.down_proj.weight, and * stands for anything"
            )
        formats |= dict.fromkeys(fitting, parse_format(text))
    return Assignment(formats, config.weights)


def role(name: str) -> Role | None:
    """What the tensor of that name is; None for norms, which are stored as they are computed with."""
    if name == EMBEDDINGS:
        return "embeddings"
    if name == HEAD:
        return "head"
    return None if name.endswith("norm.weight") else "layer"


def _format(kind: WeightFormat, block: int) -> TensorFormat:
    return TensorFormat(kind, block if kind == "int4" else 0)
