"""Training: from token shards and a recipe to a checkpoint, resumable at every step, to the bit.

The same recipe, corpus, processor kind, thread count and library versions give the same `metrics.jsonl` and the same
weights, whether the run was interrupted or not. The run directory is described in run.py.
"""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from castline import __version__
from castline.errors import CheckpointError, DataError
from castline.model.checkpoint import write_checkpoint
from castline.model.config import RunConfig
from castline.model.data import TrainingData
from castline.model.decoder import Decoder
from castline.model.environment import interrupt_flag, thread_count
from castline.model.evaluate import HeldOut, HeldOutLoss
from castline.model.layouts import to_llama
from castline.model.optimizer import learning_rate, make_optimizer
from castline.model.plot import plot_loss
from castline.model.run import MetricsFile, RunDirectory
from castline.model.start import Start
from castline.model.state import Progress, list_states, load_state, prune, save_state, state_folder
from castline.progress import progress as show_progress

# The training loss of a summary is the mean over this share of the steps, the last ones.
_LAST_SHARE = 0.05

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainSummary:
    """A finished run. Losses are nats per predicted token; `reused`: it was complete before."""

    run: Path
    checkpoint: Path
    parameters: int
    steps: int
    tokens: int
    training_loss: float
    held_out: HeldOutLoss
    unigram: HeldOutLoss
    parameters_sha256: str
    tokens_per_second: float | None
    resumed_from: int | None
    reused: bool


def train(config: RunConfig, out: Path, *, force: bool = False, say: Say = lambda _: None) -> TrainSummary:
    """Train a model, or go on with a run that was interrupted, or find it finished.

    Args:
        config: the recipe; `train.data` names the corpus directory
        out: the run directory
        force: discard what `out` holds of a run
        say: gets a line on what happens: where the run goes on, each evaluation

    Raises:
        RecipeError: the recipe does not fit the data or the model it starts from, or `out` holds another run.
        DataError: no finished corpus, too few tokens, or a loss that is not finite (it names the documents).
        CheckpointError: the checkpoint to start from is damaged.
        DeviceError: the disk is full, or the folder cannot be written.
        KeyboardInterrupt: after Ctrl-C, once the state is saved; the message says how to go on.
    """
    start = Start.open(config)
    directory = RunDirectory(out)
    identity = start.identity(out)
    directory.check(identity, force=force)
    with directory.locked():
        identity = directory.begin(identity, force=force)
        summary = directory.summary()
        if summary is not None:
            say(f"{out} is complete: reused")
            return _summary(directory, start, summary, resumed_from=None, reused=True)
        environment = identity["environment"]
        if environment["torch"] != torch.__version__:
            say(f"this run began with torch {environment['torch']}; its bits may differ with {torch.__version__}")
        with thread_count(environment["threads"]):
            run = _Run(start, directory, environment, say)
            resumed_from = run.restore()
            run.steps()
            summary = run.finish()
    return _summary(directory, start, summary, resumed_from=resumed_from, reused=False)


class _Run:
    """One run under way: the model, its optimizer, its data, its files."""

    def __init__(self, start: Start, directory: RunDirectory, environment: dict[str, Any], say: Say) -> None:
        self._start, self._directory, self._environment, self._say = start, directory, environment, say
        self._config = start.config.train
        self._shards = start.shards
        self._held_out = HeldOut(start.corpus, self._config)
        self._data = TrainingData(
            self._shards,
            length=self._config.sequence_length,
            batch_size=self._config.batch_size,
            seed=start.config.seed,
        )
        self._progress = Progress()
        self._new_model()

    def restore(self) -> int | None:
        """Go back to the newest checkpoint that is whole; the step it was made at, None for a new run."""
        prune(self._directory.checkpoints, self._config.keep_checkpoints)
        for folder in list_states(self._directory.checkpoints):
            try:
                progress = load_state(folder, self._decoder, self._optimizer)
                if self._directory.metrics_size() < progress.metrics_bytes:
                    raise CheckpointError(f"{self._directory.metrics} is shorter than it was then")
            except CheckpointError as error:
                self._say(f"not going on from {folder.name}: {error}")
                self._new_model()
                continue
            self._progress = progress
            self._say(f"going on after step {self._progress.step} of {self._config.steps}")
            return self._progress.step
        return None

    def steps(self) -> None:
        """Train from where the run is to the last step, evaluating and saving when due."""
        metrics = MetricsFile(self._directory, self._progress.metrics_bytes)
        try:
            with (
                interrupt_flag() as interrupted,
                show_progress("training", self._tokens(self._config.steps), "tokens") as bar,
            ):
                bar(self._progress.tokens)
                if self._progress.step == 0:
                    metrics.write(**self._header())
                for step in range(self._progress.step + 1, self._config.steps + 1):
                    self._step(step, metrics)
                    bar(self._tokens(1))
                    due = step == self._config.steps
                    if due or step % self._config.evaluate_every == 0:
                        self._evaluate(step, metrics)
                    if due or interrupted.is_set() or step % self._config.checkpoint_every == 0:
                        self._save(step, metrics)
                    if interrupted.is_set() and not due:
                        raise KeyboardInterrupt(
                            f"step {step} of {self._config.steps} is saved in {self._directory.path}; "
                            "run the same command again to go on from there"
                        )
        finally:
            metrics.close()

    def finish(self) -> dict[str, Any]:
        """Write the finished checkpoint, the plot and, last, the summary."""
        unigram = self._held_out.unigram_losses(self._shards)
        lines = self._directory.read_metrics()
        losses = [line["loss"] for line in lines if "loss" in line]
        last = losses[-max(1, round(_LAST_SHARE * len(losses))) :]
        held_out = [line for line in lines if "held_out" in line][-1]
        write_checkpoint(
            self._directory.checkpoint,
            self._decoder.config,
            to_llama(self._decoder.config, dict(self._decoder.named_parameters())),
            special_tokens=self._start.special_tokens,
            extra_files=self._start.companions(self._directory.checkpoint, self._progress.step, self._progress.tokens),
        )
        plot_loss(self._directory.path / "loss.svg", lines, unigram.mean)
        summary = {
            "castline_version": __version__,
            "parameters": _parameter_count(self._decoder),
            "parameters_sha256": parameters_sha256(self._decoder),
            "steps": self._progress.step,
            "tokens": self._progress.tokens,
            "training_loss": sum(last) / len(last),
            "held_out": {"mean": held_out["held_out_mean"], "by_source": held_out["held_out"]},
            "unigram": asdict(unigram),
        }
        self._directory.finish(summary)
        return summary

    def _new_model(self) -> None:
        self._decoder = self._start.decoder()
        self._optimizer = make_optimizer(self._decoder, self._config)

    def _step(self, step: int, metrics: MetricsFile) -> None:
        began = time.perf_counter()
        batch = self._data.batch(step)
        counted = max(batch.counted, 1)
        rate = learning_rate(self._config, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss = 0.0
        for part in batch.split(self._config.micro_batch_size):
            part_loss = self._decoder.loss(part.tokens, part.targets, part.document_ids) / counted
            part_loss.backward()  # type: ignore[no-untyped-call]
            loss += float(part_loss.detach())
        norm = float(nn.utils.clip_grad_norm_(self._decoder.parameters(), self._config.clip_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DataError(self._not_finite(step, loss, norm))
        self._optimizer.step()
        tokens = self._progress.tokens + batch.tokens.numel()
        self._progress = Progress(step, tokens, self._progress.metrics_bytes)
        metrics.write(step=step, loss=loss, learning_rate=rate, gradient_norm=norm, tokens=tokens)
        metrics.write_time(step=step, seconds=round(time.perf_counter() - began, 6))

    def _evaluate(self, step: int, metrics: MetricsFile) -> None:
        found = self._held_out.losses(self._decoder)
        metrics.write(step=step, held_out_mean=found.mean, held_out=found.by_source)
        if found.mean is not None:
            self._say(f"step {step} of {self._config.steps}: held-out loss {found.mean:.4f}")

    def _save(self, step: int, metrics: MetricsFile) -> None:
        self._progress = Progress(step, self._progress.tokens, metrics.sync())
        folder = state_folder(self._directory.checkpoints, step)
        save_state(
            folder,
            self._decoder,
            self._optimizer,
            self._progress,
            special_tokens=self._start.special_tokens,
            extra_files=self._start.companions(folder, step, self._progress.tokens),
        )
        prune(self._directory.checkpoints, self._config.keep_checkpoints)

    def _header(self) -> dict[str, Any]:
        return {
            "castline_version": __version__,
            "seed": self._start.config.seed,
            "parameters": _parameter_count(self._decoder),
            "sequences": len(self._data.windows),
            **self._environment,
        }

    def _tokens(self, steps: int) -> int:
        return steps * self._config.batch_size * self._config.sequence_length

    def _not_finite(self, step: int, loss: float, norm: float) -> str:
        documents = self._data.documents(step)
        named = ", ".join(documents[:20]) + (f" and {len(documents) - 20} more" if len(documents) > 20 else "")
        return (
            f"step {step}: expected a finite loss and gradient, but got a loss of {loss} and a gradient norm of "
            f"{norm}; lower train.learning_rate, or look at the documents of this batch: {named}"
        )


def parameters_sha256(decoder: Decoder) -> str:
    """The SHA-256 of all parameters in order, names included: two models are the same to the bit, or not."""
    digest = hashlib.sha256()
    for name, parameter in decoder.named_parameters():
        digest.update(name.encode())
        digest.update(parameter.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _summary(
    directory: RunDirectory, start: Start, summary: dict[str, Any], *, resumed_from: int | None, reused: bool
) -> TrainSummary:
    config = start.config.train
    return TrainSummary(
        run=directory.path,
        checkpoint=directory.checkpoint,
        parameters=summary["parameters"],
        steps=summary["steps"],
        tokens=summary["tokens"],
        training_loss=summary["training_loss"],
        held_out=HeldOutLoss(**summary["held_out"]),
        unigram=HeldOutLoss(**summary["unigram"]),
        parameters_sha256=summary["parameters_sha256"],
        tokens_per_second=directory.tokens_per_second(config.batch_size * config.sequence_length),
        resumed_from=resumed_from,
        reused=reused,
    )


def _parameter_count(decoder: Decoder) -> int:
    return sum(parameter.numel() for parameter in decoder.parameters())
