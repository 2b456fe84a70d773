"""What a build would read and roughly what it would write, from a small sample of every source."""

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from castline import _C
from castline.corpus.annotate.annotator import Annotator
from castline.corpus.annotate.annotators import annotate, make_annotators
from castline.corpus.config import CorpusConfig, Source
from castline.corpus.documents import Document
from castline.corpus.duplicates.earlier import open_earlier
from castline.corpus.long_context.select import check_scorer
from castline.corpus.measure import settle_languages
from castline.corpus.mixing.estimate import PhaseEstimate, SourceSample, estimate_phases
from castline.corpus.readers.formats import can_be_divided
from castline.corpus.readers.read import read_files
from castline.corpus.sources import SourceFile, find_files

SAMPLE_FILES = 16
SAMPLE_BYTES = 2 * 1024 * 1024
PIECE_BYTES = 512 * 1024
BYTES_PER_TOKEN = 4
COMPRESSION = 4


@dataclass(frozen=True)
class SourcePlan:
    """One source: what is there, and estimates before any rule drops a document."""

    name: str
    files: int
    bytes: int
    text_bytes: int
    tokens: int


@dataclass(frozen=True)
class CorpusPlan:
    """All sources, what is done with their documents, what the phases would read, and about how many bytes the corpus
    directory takes at most.
    """

    sources: list[SourcePlan]
    annotators: list[str]  # what is done with every document besides measuring it
    long_documents: int | None  # that would be scored for long contexts; None where the recipe does not ask for it
    packed_documents: int | None  # that repositories would be packed into; None where none are
    phases: list[PhaseEstimate]
    output_bytes: int


def plan_corpus(config: CorpusConfig, *, base: Path = Path()) -> CorpusPlan:
    """Say what `build_corpus` would do with this recipe, without writing anything.

    Raises:
        DataError: a source matches no file, an earlier corpus is not there, or a file that another table names is not
            what it should be.
        DeviceError: a package that the recipe needs is missing.
    """
    open_earlier(config.dedup, base)
    annotators = make_annotators(config, base)
    check_scorer(config, base)
    sources, samples, long = [], [], 0.0
    min_bytes = config.long_context.min_bytes if config.long_context else math.inf
    for source in config.sources:
        files = find_files(source, base)
        documents, read = _sample(source, files)
        size = sum(file.size for file in files)
        sizes = [len(document.text.encode()) for document in documents]
        text_bytes = size * sum(sizes) // read if read else 0
        long += sum(one >= min_bytes for one in sizes) * size / max(read, 1)
        sources.append(SourcePlan(source.name, len(files), size, text_bytes, text_bytes // BYTES_PER_TOKEN))
        samples.append(SourceSample(source.name, source.kind, _measured(documents, annotators), size / max(read, 1)))
    weights = {source.name: source.weight for source in config.sources}
    phases = estimate_phases(config.mix, samples, weights)
    text = sum(source.text_bytes for source in sources)
    # the documents, and the tokens twice: once encoded, once mixed
    tokens = text // BYTES_PER_TOKEN + sum(phase.tokens for phase in phases)
    written = text // COMPRESSION + _index_bytes(config, sources) + 2 * tokens
    shown = [str(annotator) for annotator in annotators]
    long_documents = round(long) if config.long_context else None
    return CorpusPlan(sources, shown, long_documents, _packed_documents(config, sources), phases, written)


def _packed_documents(config: CorpusConfig, sources: list[SourcePlan]) -> int | None:
    """As many documents as hold all text of the sources that are repositories; more, where these are small."""
    units = {source.name: source.repository for source in config.sources if source.repository != "none"}
    packed = [
        source.files if units[source.name] == "file" else -(-source.text_bytes // config.repositories.budget)
        for source in sources
        if source.name in units
    ]
    return sum(packed) if packed else None


def _index_bytes(config: CorpusConfig, sources: list[SourcePlan]) -> int:
    """The index of duplicates: 8 bytes per word of text, or token of code."""
    if not config.dedup.near:
        return 0
    bytes_per_word = {source.name: 3 if source.kind == "code" else 5 for source in config.sources}
    return sum(8 * source.text_bytes // bytes_per_word[source.name] for source in sources)


def _sample(source: Source, files: list[SourceFile]) -> tuple[list[Document], int]:
    """Some documents of a source, and how many bytes of its files they are from."""
    read = text = 0
    documents = []
    for file in map(partial(_beginning, source), files[:: -(-len(files) // SAMPLE_FILES)]):
        found, length = _sample_file(source, file)
        documents += found
        text += sum(len(document.text.encode()) for document in found)
        read += length
        if max(read, text) > SAMPLE_BYTES:
            break
    return documents, read


def _sample_file(source: Source, file: SourceFile) -> tuple[list[Document], int]:
    """The documents of a file or a piece of it, and its size; of a large one, the first, and how far they reach.

    Files are unpacked chunk by chunk, so that is known where the next chunk has been read.
    """
    documents: list[Document] = []
    opened: list[IO[bytes]] = []
    text = position = 0
    for record in read_files(source, (file,), opened=opened.append):
        before, position = position, opened[-1].tell() if opened and not opened[-1].closed else 0
        if text > SAMPLE_BYTES and position > before > 0 and file.span is None:
            return documents, before
        if isinstance(record, Document):
            documents.append(record)
            text += len(record.text.encode())
    return documents, file.length


def _beginning(source: Source, file: SourceFile) -> SourceFile:
    """The first piece of a large file, where its format allows that."""
    if file.size > PIECE_BYTES and can_be_divided(source, file.path):
        return replace(file, span=(0, PIECE_BYTES))
    return file


def _measured(documents: list[Document], annotators: list[Annotator]) -> list[tuple[str, int]]:
    """The language and about the number of tokens of every document."""
    documents, _ = annotate(annotators, documents)
    texts = [document.text.encode() for document in documents]
    settled = settle_languages(documents, _C.measure(texts)["han_fraction"])
    return [
        (document.language, len(text) // BYTES_PER_TOKEN + 1) for document, text in zip(settled, texts, strict=True)
    ]
