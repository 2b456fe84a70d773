"""AdamW as InternLM2 uses it, and its learning rate: linear warm-up, then a cosine (arXiv 2403.17297)."""

import math

from torch import Tensor
from torch.optim import AdamW

from castline.model.config import TrainConfig
from castline.model.decoder import Decoder


def make_optimizer(decoder: Decoder, config: TrainConfig) -> AdamW:
    """AdamW over the decoder's parameters; weight decay on the matrices (embeddings included), not on the norms."""
    parameters = list(decoder.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True)


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of a step, counted from 1.

    It rises linearly to the peak over `warmup_steps`, then follows half a cosine down to
    `final_learning_rate_ratio` of it, which the last step has.
    """
    warmup = warmup_steps(config)
    if step <= warmup:
        return config.learning_rate * step / warmup
    progress = (step - warmup) / (config.steps - warmup)
    floor = config.final_learning_rate_ratio
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def warmup_steps(config: TrainConfig) -> int:
    """How many steps warm up: the share of all, rounded up."""
    return math.ceil(config.warmup_ratio * config.steps)


def optimizer_tensors(decoder: Decoder, optimizer: AdamW) -> dict[str, Tensor]:
    """The optimizer's state by parameter name: {"NAME.exp_avg": …, "NAME.exp_avg_sq": …, "NAME.step": …}."""
    return {
        f"{name}.{key}": value
        for name, parameter in decoder.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def restore_optimizer(decoder: Decoder, optimizer: AdamW, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        KeyError: a tensor is missing.
    """
    for name, parameter in decoder.named_parameters():
        keys = ("step", "exp_avg", "exp_avg_sq")
        optimizer.state[parameter] = {key: tensors[f"{name}.{key}"].clone() for key in keys}
