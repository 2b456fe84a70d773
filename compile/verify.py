"""The proof: every backend's logits against the checkpoint's, over held-out tokens, under a bound on mean KL.

`prove` runs while a package is made, against the checkpoint computed by PyTorch in float32;
`verify_package` runs anywhere later, against the golden log-probabilities that the package carries.
"""

from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from castline.compile.backends import open_engine, open_measurable, stored_weights
from castline.compile.blame import explain, layer_errors
from castline.compile.config import Bounds
from castline.compile.fidelity import Fidelity, LogitsOf, Reference, ReferenceLogits, measure, rounded
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
    read_manifest,
    write_manifest,
)
from castline.compile.text_tokens import TextTokens
from castline.errors import DataError, DeviceError, PackageError, VerificationError
from castline.files import read_json, write_json
from castline.model.checkpoint import CheckpointReader, load_decoder
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


def reference_logits(reader: CheckpointReader, tokens: TextTokens) -> ReferenceLogits:
    """The checkpoint's logits, computed by PyTorch in float32."""
    decoder = load_decoder(reader).requires_grad_(False)
    logits = []
    with progress("reference", tokens.ids.size, "tokens") as advance:
        for sequence in tokens.ids:
            logits.append(decoder(torch.from_numpy(sequence)[None])[0].numpy())
            advance(len(sequence))
    return ReferenceLogits(tokens.ids, logits)


def prove(
    package: Path, reader: CheckpointReader, backends: dict[str, Backend], tokens: TextTokens, bounds: Bounds
) -> Verification:
    """Measure every backend of a package against its checkpoint; write verification.json and the golden file.

    Args:
        package: the folder, its manifest written so that the CPU runtime can open it
        reader: the checkpoint
        backends: what to measure
        tokens: over which tokens
        bounds: the highest mean KL for each weight format

    Raises:
        VerificationError: a backend is over its bound; the message has the figures and names the culprit.
    """
    reference = reference_logits(reader, tokens)
    proofs: dict[str, BackendProof] = {}
    failures = []
    for name, backend in backends.items():
        bound = bounds.of(backend.weights, backend.kv)
        found = _measured(name, open_measurable(package, name), reference)
        if not found.mean_kl <= bound:
            errors = layer_errors(reader, stored_weights(package, name), tokens.ids[0], reference.logits[0])
            failures.append(f"{_over(name, backend.weights, bound, found)}; {explain(errors, found.mean_kl)}")
        elif name in TENSORRT_TARGETS:
            proofs[name] = BackendProof(
                status="built_not_run", weights=backend.weights, bound=bound, run=None, graph=found
            )
        else:
            proofs[name] = BackendProof(status="passed", weights=backend.weights, bound=bound, run=found)
    if failures:
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
        verification = Verification.model_validate(read_json(package / VERIFICATION))
    except (DataError, ValidationError) as error:
        raise PackageError(f"{package / VERIFICATION} is damaged: {error}") from None
    if verification.backends.keys() != manifest.backends.keys():
        raise PackageError(
            f"{package / VERIFICATION}: expected the manifest's backends {', '.join(manifest.backends)}, but found "
            f"{', '.join(verification.backends)}"
        )
    return verification


def _again(package: Path, name: str, file: str, proof: BackendProof, golden: Reference) -> BackendProof:
    found = _measured(name, open_measurable(package, name), golden)
    if not found.mean_kl <= proof.bound:
        raise VerificationError(_over(name, proof.weights, proof.bound, found))
    if name not in TENSORRT_TARGETS:
        return proof.model_copy(update={"run": found})
    try:
        engine = open_engine(package, file)
    except DeviceError:
        return proof.model_copy(update={"graph": found})
    run = _measured(name, engine, golden)
    if not run.mean_kl <= proof.bound:
        raise VerificationError(_over(name, proof.weights, proof.bound, run))
    return proof.model_copy(update={"graph": found, "run": run, "status": "passed"})


def _measured(name: str, backend: LogitsOf, reference: Reference) -> Fidelity:
    with progress(f"proving {name}", reference.ids.size, "tokens") as advance:
        return measure(backend, reference, advance)


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
