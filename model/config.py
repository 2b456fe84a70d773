"""The recipe tables `[model]` and `[train]`, and what a training run is made of. Imports no torch.

`[model]` uses Hugging Face's names, so a recipe and a checkpoint's `config.json` read alike.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from castline.model.rope import MOST_POSITIONS, RopeScaling, dynamic_base
from castline.recipe import Table


class ModelConfig(Table):
    """A decoder of the InternLM2 and Llama families: GQA, RMSNorm, RoPE, SwiGLU, no biases."""

    vocab_size: int = Field(0, ge=0, description="0 in a recipe: the tokenizer's")
    hidden_size: int = Field(256, ge=1)
    intermediate_size: int = Field(1024, ge=1)
    num_hidden_layers: int = Field(4, ge=1)
    num_attention_heads: int = Field(8, ge=1)
    num_key_value_heads: int = Field(2, ge=1)
    head_dim: int = Field(0, ge=0, description="0: hidden_size / num_attention_heads")
    max_position_embeddings: int = Field(2048, ge=1)
    rope_theta: float = Field(50_000.0, gt=0)
    rope_scaling: RopeScaling | None = Field(None, description="none: positions as they are")
    rms_norm_eps: float = Field(1e-5, gt=0)
    tie_word_embeddings: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.head_dim == 0 and self.hidden_size % self.num_attention_heads == 0:
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.head_dim == 0:
            raise ValueError(
                "expected hidden_size to be a multiple of num_attention_heads, but got "
                f"{self.hidden_size} and {self.num_attention_heads}; change one of them or set head_dim"
            )
        if self.head_dim % 2:
            raise ValueError(f"expected an even head_dim (RoPE turns pairs), but got {self.head_dim}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                "expected num_attention_heads to be a multiple of num_key_value_heads, but got "
                f"{self.num_attention_heads} and {self.num_key_value_heads}"
            )
        if self.head_dim < 4 and self.rope_scaling is not None and self.rope_scaling.rope_type == "dynamic":
            raise ValueError(f"expected a head_dim of at least 4 with dynamic rope_scaling, but got {self.head_dim}")
        return self

    @property
    def group_size(self) -> int:
        """Query heads per key/value head."""
        return self.num_attention_heads // self.num_key_value_heads

    @property
    def context_limit(self) -> int:
        """Tokens of the longest sequence that the model can be compiled for.

        Linear scaling fits `factor` times its max_position_embeddings into the angles of the trained ones, dynamic
        scaling adapts to any length; a llama3 model's max_position_embeddings is its scaled length already.
        """
        scaling = self.rope_scaling
        if scaling is None or scaling.rope_type == "llama3":
            return self.max_position_embeddings
        if scaling.rope_type == "linear":
            return min(int(self.max_position_embeddings * scaling.factor), MOST_POSITIONS)
        return max(MOST_POSITIONS, self.max_position_embeddings)

    def at_context(self, length: int) -> "ModelConfig":
        """The model as it reads sequences of up to `length` tokens: dynamic scaling becomes a base, for good."""
        scaling = self.rope_scaling
        if scaling is None or scaling.rope_type != "dynamic":
            return self
        trained = self.max_position_embeddings
        base = dynamic_base(self.rope_theta, scaling.factor, self.head_dim, length, trained)
        return self.model_copy(
            update={"rope_theta": base, "rope_scaling": None, "max_position_embeddings": max(length, trained)}
        )


class TrainConfig(Table):
    """How a model is trained. The defaults of the optimizer are those of the InternLM2 report."""

    data: Path | None = Field(None, description="the corpus directory")
    phase: str | None = Field(None, description="the corpus's phase to train on, where it has several")
    init: Literal["scratch"] | Path = Field("scratch", description="or the checkpoint to start from")
    steps: int = Field(1000, ge=1, description="optimizer steps")
    sequence_length: int = Field(512, ge=2, description="tokens per sequence")
    batch_size: int = Field(16, ge=1, description="sequences per optimizer step")
    micro_batch_size: int = Field(4, ge=1, description="sequences per forward pass; divides batch_size")
    learning_rate: float = Field(1e-3, gt=0, description="the peak, after the warm-up")
    final_learning_rate_ratio: float = Field(0.1, ge=0, le=1)
    warmup_ratio: float = Field(0.02, ge=0, lt=1, description="share of the steps that warm up")
    weight_decay: float = Field(0.1, ge=0, description="on matrices only")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    epsilon: float = Field(1e-8, gt=0)
    clip_norm: float = Field(1.0, gt=0)
    evaluate_every: int = Field(200, ge=1, description="steps between held-out evaluations")
    evaluate_tokens: int = Field(16_384, ge=2, description="held-out tokens per source, at most")
    checkpoint_every: int = Field(200, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="the newest so many are kept")
    threads: int = Field(0, ge=0, description="0: all cores at the start of the run")
    fused_ops: bool = Field(True, description="false: the plain PyTorch twins")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                "expected batch_size to be a multiple of micro_batch_size, but got "
                f"{self.batch_size} and {self.micro_batch_size}"
            )
        return self


class RunConfig(Table):
    """Everything that decides what a training run computes, except the data itself."""

    seed: int = 0
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.train.sequence_length > self.model.max_position_embeddings:
            raise ValueError(
                "expected train.sequence_length to be at most model.max_position_embeddings, but got "
                f"{self.train.sequence_length} and {self.model.max_position_embeddings}"
            )
        return self
