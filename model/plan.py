"""`castline train plan`: what a run takes, before it takes it."""

from dataclasses import dataclass
from math import prod

from castline.corpus.shards import open_shards
from castline.errors import RecipeError
from castline.model.config import ModelConfig, RunConfig
from castline.model.layouts import decoder_shapes

_FLOAT = 4
# Of a parameter: the weight, its gradient, AdamW's two moments.
_COPIES = {"weights": 1, "gradients": 1, "optimizer": 2}
_PARTS = {
    "embeddings": ("tok_embeddings.weight",),
    "attention": ("attention.wqkv.weight", "attention.wo.weight"),
    "feed_forward": ("feed_forward.w1.weight", "feed_forward.w3.weight", "feed_forward.w2.weight"),
    "norms": ("norm.weight",),
    "output": ("output.weight",),
}


@dataclass(frozen=True)
class TrainPlan:
    """Sizes are in parameters, floating point operations and bytes.

    `parameters`, `flops_per_token` (a training step's, for documents as long as the sequence) and the first three
    entries of `memory` are exact; `activations` is an estimate of what one micro-batch keeps for the backward pass.
    """

    model: ModelConfig
    parameters: dict[str, int]
    flops_per_token: int
    steps: int
    tokens_per_step: int
    corpus_tokens: int | None
    memory: dict[str, int]

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return self.steps * self.tokens_per_step

    @property
    def epochs(self) -> float | None:
        """How often the corpus, or its phase, is gone through; None where it is not there yet."""
        return self.tokens / self.corpus_tokens if self.corpus_tokens else None

    @property
    def flops(self) -> int:
        """Operations of the whole run."""
        return self.tokens * self.flops_per_token


def plan(config: RunConfig) -> TrainPlan:
    """Work out a run; the corpus is needed only where the recipe leaves the vocabulary's size to it.

    Raises:
        RecipeError: the size of the vocabulary is known neither from the recipe nor from a corpus, or the corpus has
            no such phase.
        DataError: the corpus is damaged.
    """
    train, model = config.train, config.model
    corpus = None
    if train.data is not None and (train.data / "shards" / "manifest.json").is_file():
        corpus = open_shards(train.data)
    if model.vocab_size == 0:
        if corpus is None:
            raise RecipeError("expected model.vocab_size, or a corpus at train.data that tells it, but found neither")
        model = model.model_copy(update={"vocab_size": int(corpus.manifest["vocab_size"])})
    parameters = count_parameters(model)
    memory = {name: copies * _FLOAT * sum(parameters.values()) for name, copies in _COPIES.items()}
    memory["activations"] = _activation_bytes(model, train.micro_batch_size * train.sequence_length)
    return TrainPlan(
        model=model,
        parameters=parameters,
        flops_per_token=3 * forward_flops(model, train.sequence_length),
        steps=train.steps,
        tokens_per_step=train.batch_size * train.sequence_length,
        corpus_tokens=None if corpus is None else corpus.manifest["splits"][corpus.phase(train.phase)]["tokens"],
        memory=memory,
    )


def count_parameters(config: ModelConfig) -> dict[str, int]:
    """The parameters of each part of the model; a tied output has none of its own."""
    shapes = decoder_shapes(config)
    return {
        part: sum(prod(shape) for name, shape in shapes.items() if name.endswith(endings))
        for part, endings in _PARTS.items()
    }


def forward_flops(config: ModelConfig, length: int) -> int:
    """Operations per token of a forward pass over a document of `length` tokens; a multiply-add is two.

    Every matrix counts twice its size (the embedding is looked up, the output is a matrix, tied or not). Causal
    attention has (length + 1) / 2 keys per query on average, and multiplies by each of them twice.
    """
    parts = count_parameters(config)
    matrices = parts["attention"] + parts["feed_forward"] + config.vocab_size * config.hidden_size
    width = config.num_attention_heads * config.head_dim
    attention = config.num_hidden_layers * 2 * width * (length + 1)
    return 2 * matrices + attention


def _activation_bytes(config: ModelConfig, tokens: int) -> int:
    """Per layer: the inputs of both norms and of what follows them, q, k and v before and after RoPE, attention's
    result, gate, up and their product. Besides: the logits of a chunk and their gradient.
    """
    width = config.num_attention_heads * config.head_dim
    packed = width + 2 * config.num_key_value_heads * config.head_dim
    per_layer = 4 * config.hidden_size + 2 * packed + 2 * width + 3 * config.intermediate_size
    logits = 2 * min(tokens, 1024) * config.vocab_size
    return _FLOAT * (tokens * (config.num_hidden_layers * per_layer + 2 * config.hidden_size) + logits)
