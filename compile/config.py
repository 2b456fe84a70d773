"""The recipe table `[compile]`: what a package is made of and how close it must be. Imports no numpy."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from castline.compile.formats import TARGETS, CacheFormat, Target, WeightFormat, parse_format
from castline.recipe import Table

Calibration = Literal["none", "gptq", "awq", "awq+gptq"]
"""How int4 weights are fitted to text: not at all (rounded), by GPTQ's rounding, by AWQ's scales, or by both."""


class Bounds(Table):
    """The highest mean KL divergence (nats per token) from the checkpoint that a weight format may have."""

    f32: float = Field(1e-5, ge=0)
    f16: float = Field(1e-2, ge=0)
    bf16: float = Field(1e-2, ge=0)
    int8: float = Field(0.03, ge=0)
    fp8: float = Field(0.05, ge=0)
    int4: float = Field(0.1, ge=0)

    def of(self, weights: WeightFormat, kv: WeightFormat = "f32") -> float:
        """The bound for one weight format; an int8 cache of keys and values may cost what int8 weights may."""
        bound: float = getattr(self, weights)
        return max(bound, self.int8) if kv == "int8" else bound


class CompileConfig(Table):
    """What to build from a checkpoint."""

    weights: WeightFormat = Field("f32", description="weight format of the layers")
    block: Literal[32, 64, 128] = Field(32, description="elements of a row that share an int4 grid")
    embeddings: WeightFormat | None = Field(None, description="of the embedding table; int8 with int4 layers")
    head: WeightFormat | None = Field(None, description="of an untied head; int8 with int4 layers")
    tensors: dict[str, str] = Field({}, description="formats such as int8 or int4/64 by tensor name, with * and ?")
    max_kl: float | None = Field(None, gt=0, description="choose the formats: the smallest package within this KL")
    max_size: int | None = Field(None, description="choose the formats: the closest package of at most, as '90MB'")
    calibration: Calibration = Field("gptq", description="how int4 weights are chosen where there is text for it")
    calibration_text: Path | None = Field(None, description="text or jsonl to calibrate on, not the model's corpus")
    calibration_tokens: int = Field(32_768, ge=1024, description="how much of it")
    targets: tuple[Target, ...] = Field((), description="backends to build; none: all installed")
    context: int = Field(0, ge=0, description="longest sequence in tokens; 0: the model's")
    batch: int = Field(1, ge=1, description="most sequences a TensorRT engine decodes at once")
    compute_capability: tuple[str, ...] = Field((), description="of TensorRT engines; none: all offered")
    kv: CacheFormat = Field("f32", description="format of the CPU runtime's key/value cache: f32 or int8")
    verify_tokens: int = Field(1024, ge=64, description="held-out tokens the proof runs over")
    verify_text: Path | None = Field(None, description="text for the proof, not the held-out one")
    bounds: Bounds = Bounds()

    @property
    def is_automatic(self) -> bool:
        """Whether castline chooses the formats."""
        return self.max_kl is not None or self.max_size is not None

    @field_validator("max_size", mode="before")
    @classmethod
    def _bytes(cls, size: object) -> object:
        if not isinstance(size, str):
            return size
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMG]?)B", size.strip())
        if not found:
            raise ValueError(f"expected a size such as '90MB' or '1.2GB', but got '{size}'")
        return round(float(found[1]) * 1000 ** " kMG".index(found[2] or " "))

    @model_validator(mode="after")
    def _chosen_by_one(self) -> Self:
        if self.max_kl is not None and self.max_size is not None:
            raise ValueError("expected max_kl or max_size, but got both")
        named = sorted({"weights", "block", "embeddings", "head", "tensors"} & self.model_fields_set)
        if self.is_automatic and named:
            raise ValueError(
                f"expected max_kl and max_size, which choose the formats, without {', '.join(named)}, which names them"
            )
        return self

    @field_validator("targets")
    @classmethod
    def _once_and_in_order(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        return tuple(target for target in TARGETS if target in targets)

    @field_validator("tensors")
    @classmethod
    def _known_formats(cls, tensors: dict[str, str]) -> dict[str, str]:
        for text in tensors.values():
            parse_format(text)
        return tensors

    @field_validator("compute_capability")
    @classmethod
    def _capability_form(cls, capabilities: tuple[str, ...]) -> tuple[str, ...]:
        for capability in capabilities:
            major, dot, minor = capability.partition(".")
            if not (dot and major.isdigit() and minor.isdigit()):
                raise ValueError(f"expected compute capabilities such as '8.9', but got '{capability}'")
        return tuple(sorted(set(capabilities), key=lambda value: [int(part) for part in value.split(".")]))
