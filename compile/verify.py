"""The proof: every backend's logits against the checkpoint's, over held-out tokens, under a bound on mean KL.

`prove` runs while a package is made, against the checkpoint computed by PyTorch in float32;
`verify_package` runs anywhere later, against the golden log-probabilities that the package carries.
"""

from functools import partial
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from castline.compile.backends import open_engine, open_measurable, stored_weights
from castline.compile.blame import LayerError, explain, layer_errors
from castline.compile.config import Bounds
from castline.compile.fidelity import (
    Comparison,
    Fidelity,
    LogitsOf,
    Reference,
    ReferenceLogits,
    compare,
    rounded,
)
from castline.compile.formats import TENSORRT_TARGETS, WeightFormat
from castline.compile.golden import make_golden, read_golden, write_golden
from castline.compile.package import (
    GOLDEN,
    VERIFICATION,
    Backend,
    Manifest,
    Status,
    check_files,
    file_entry,
    read_json_file,
    read_manifest,
    write_manifest,
)
from castline.compile.reference import reference_logits
from castline.compile.spread import Spread, spread_of
from castline.compile.text_tokens import TextTokens
from castline.compile.work import WorkFolder
from castline.errors import DataError, DeviceError, PackageError, VerificationError
from castline.files import write_json
from castline.model.checkpoint import CheckpointReader
from castline.progress import progress
from castline.recipe import Table

SCHEMA_VERSION = 1


class BackendProof(Table):
    """The verdict on one backend."""

    status: Status
    weights: WeightFormat
    bound: float
    """The highest mean KL allowed, in nats per token."""
    run: Fidelity | None
    """Measured on the backend itself; none while its run is owed."""
    graph: Fidelity | None = None
    """TensorRT: measured in ONNX Runtime, on the graph that the engine is built from."""
    spread: Spread | None = None
    """Of `run`, or of `graph` while that is owed."""
    layers: tuple[LayerError, ...] = ()
    """What each layer's stored weights cost, in the model's order, measured when the package was made."""

    @property
    def measured(self) -> Fidelity:
        """`run`, or `graph` while that is owed."""
        found = self.run or self.graph
        assert found is not None  # a proof measures one of them
        return found


class Verification(Table):
    """verification.json."""

    schema_version: int
    tokens: int
    sequences: int
    source: str
    """Where the tokens are from."""
    reference: str
    reference_perplexity: float
    backends: dict[str, BackendProof]


def prove(
    package: Path,
    reader: CheckpointReader,
    backends: dict[str, Backend],
    tokens: TextTokens,
    bounds: Bounds,
    *,
    work: WorkFolder,
    allow_unverified: bool = False,
) -> Verification:
    """Measure every backend of a package against its checkpoint; write verification.json and the golden file.

    Args:
        package: the folder, its manifest written so that the CPU runtime can open it
        reader: the checkpoint
        backends: what to measure
        tokens: over which tokens
        bounds: the highest mean KL for each weight format
        work: keeps what is finished
        allow_unverified: a backend over its bound is marked as failed instead

    Raises:
        VerificationError: a backend is over its bound, or gives no numbers; the message has the figures and names
            the culprit.
    """
    reference = reference_logits(reader, tokens.ids, work)
    proofs = {
        name: work.step(
            f"proof-{name}", BackendProof, partial(_proof, package, name, backend, reader, reference, bounds)
        )
        for name, backend in backends.items()
    }
    failures = [_failure(name, proof) for name, proof in proofs.items() if proof.status == "failed"]
    if failures and not allow_unverified:
        raise VerificationError("; ".join(failures) + "; nothing was shipped")

    golden = make_golden(reference)
    write_golden(package / GOLDEN, golden)
    verification = Verification(
        schema_version=SCHEMA_VERSION,
        tokens=tokens.ids.size,
        sequences=len(tokens.ids),
        source=tokens.source,
        reference="the checkpoint, computed by PyTorch in float32",
        reference_perplexity=rounded(float(np.exp(-golden.next_log_probs.astype(np.float64).mean()))),
        backends=proofs,
    )
    _write(package, verification)
    return verification


def _proof(
    package: Path,
    name: str,
    backend: Backend,
    reader: CheckpointReader,
    reference: ReferenceLogits,
    bounds: Bounds,
) -> BackendProof:
    comparison = _measured(name, open_measurable(package, name), reference)
    found, bound = comparison.fidelity, bounds.of(backend.weights, backend.kv)
    of_engine = name in TENSORRT_TARGETS
    passed: Status = "built_not_run" if of_engine else "passed"
    proof = BackendProof(
        status=passed if found.mean_kl <= bound else "failed",
        weights=backend.weights,
        bound=bound,
        run=None if of_engine else found,
        graph=found if of_engine else None,
        spread=spread_of(comparison),
        layers=tuple(layer_errors(reader, stored_weights(package, name), reference.ids[0])),
    )
    if not np.isfinite(list(found.model_dump().values())).all():
        raise VerificationError(f"{_failure(name, proof)}; nothing was shipped")
    return proof


def verify_package(package: Path) -> Verification:
    """Prove a package again on this machine, from what it carries; also whether its files are whole.

    Returns:
        The figures measured here. A TensorRT engine that no machine has run yet is run where there is a GPU for
        it; only then are verification.json and the manifest brought up to date.

    Raises:
        PackageError: a file is missing or changed, or the package's schema is newer than this castline.
        VerificationError: a backend is over its bound on this machine.
    """
    manifest = read_manifest(package)
    check_files(package, manifest)
    recorded = read_verification(package, manifest)
    golden = read_golden(package / GOLDEN)
    found = {
        name: _again(package, name, manifest.backends[name].file, proof, golden)
        for name, proof in recorded.backends.items()
    }
    completed = [
        name
        for name, proof in found.items()
        if recorded.backends[name].status == "built_not_run" and proof.status == "passed"
    ]
    if completed:
        updated = {name: found[name] if name in completed else proof for name, proof in recorded.backends.items()}
        _write(package, recorded.model_copy(update={"backends": updated}))
        write_manifest(package, _with_status(package, manifest, completed))
    return recorded.model_copy(update={"backends": found})


def read_verification(package: Path, manifest: Manifest) -> Verification:
    """Read verification.json.

    Raises:
        PackageError: it is missing or damaged, or speaks of other backends than the manifest.
    """
    try:
        verification = Verification.model_validate(read_json_file(package, VERIFICATION))
    except (DataError, ValidationError) as error:
        raise PackageError(f"{package / VERIFICATION} is damaged: {error}") from None
    if verification.backends.keys() != manifest.backends.keys():
        raise PackageError(
            f"{package / VERIFICATION}: expected the manifest's backends {', '.join(manifest.backends)}, but found "
            f"{', '.join(verification.backends)}"
        )
    return verification


def _again(package: Path, name: str, file: str, proof: BackendProof, golden: Reference) -> BackendProof:
    found = _within_bound(name, proof, _measured(name, open_measurable(package, name), golden))
    if name not in TENSORRT_TARGETS:
        return proof.model_copy(update={"run": found.fidelity, "spread": spread_of(found)})
    graph = {"graph": found.fidelity}
    try:
        engine = open_engine(package, file)
    except DeviceError:
        return proof.model_copy(update=graph | {"spread": spread_of(found)})
    run = _within_bound(name, proof, _measured(name, engine, golden))
    return proof.model_copy(update=graph | {"run": run.fidelity, "spread": spread_of(run), "status": "passed"})


def _within_bound(name: str, proof: BackendProof, found: Comparison) -> Comparison:
    if not found.fidelity.mean_kl <= proof.bound:
        raise VerificationError(_over(name, proof.weights, proof.bound, found.fidelity))
    return found


def _measured(name: str, backend: LogitsOf, reference: Reference) -> Comparison:
    with progress(f"proving {name}", reference.ids.size, "tokens") as advance:
        return compare(backend, reference, advance)


def _failure(name: str, proof: BackendProof) -> str:
    found = proof.measured
    return f"{_over(name, proof.weights, proof.bound, found)}; {explain(proof.layers, found.mean_kl)}"


def _over(name: str, weights: WeightFormat, bound: float, found: Fidelity) -> str:
    return (
        f"{name} ({weights}): expected a mean KL of at most {bound:g} over {found.tokens} tokens, but measured "
        f"{found.mean_kl:.3g} (worst {found.max_kl:.3g}, top-1 agreement {found.top1_agreement:.1%}, "
        f"perplexity ratio {found.perplexity_ratio:.4g})"
    )


def _write(package: Path, verification: Verification) -> None:
    write_json(package / VERIFICATION, verification.model_dump(mode="json"))


def _with_status(package: Path, manifest: Manifest, completed: list[str]) -> Manifest:
    backends = manifest.backends | {
        name: manifest.backends[name].model_copy(update={"status": "passed"}) for name in completed
    }
    files = manifest.files | {VERIFICATION: file_entry(package / VERIFICATION)}
    return manifest.model_copy(update={"backends": backends, "files": files})
