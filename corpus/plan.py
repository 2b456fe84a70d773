"""What a build would read and roughly what it would write, from a small sample of every source."""

from dataclasses import dataclass
from pathlib import Path

from castline.corpus.annotate.annotators import make_annotators
from castline.corpus.config import CorpusConfig, Source
from castline.corpus.documents import Document
from castline.corpus.duplicates.earlier import open_earlier
from castline.corpus.readers.read import read_files
from castline.corpus.sources import SourceFile, find_files

SAMPLE_FILES = 16
SAMPLE_BYTES = 2 * 1024 * 1024
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
    """All sources, what is done with their documents, and about how many bytes the corpus directory takes at most."""

    sources: list[SourcePlan]
    annotators: list[str]  # what is done with every document besides measuring it
    output_bytes: int


def plan_corpus(config: CorpusConfig, *, base: Path = Path()) -> CorpusPlan:
    """Say what `build_corpus` would do with this recipe, without writing anything.

    Raises:
        DataError: a source matches no file, an earlier corpus is not there, or a file that another table names is not
            what it should be.
        DeviceError: a package that the recipe needs is missing.
    """
    open_earlier(config.dedup, base)
    annotators = [str(annotator) for annotator in make_annotators(config, base)]
    sources = [_plan(source, find_files(source, base)) for source in config.sources]
    text = sum(source.text_bytes for source in sources)
    tokens = config.mix.tokens or sum(
        round(source.tokens * config_source.weight)
        for source, config_source in zip(sources, config.sources, strict=True)
    )
    index = _index_bytes(config, sources)
    # the documents, and the tokens twice: once encoded, once mixed
    return CorpusPlan(
        sources, annotators, output_bytes=text // COMPRESSION + index + 2 * (text // BYTES_PER_TOKEN) + 2 * tokens
    )


def _index_bytes(config: CorpusConfig, sources: list[SourcePlan]) -> int:
    """The index of duplicates: 8 bytes per word of text, or token of code."""
    if not config.dedup.near:
        return 0
    bytes_per_word = {source.name: 3 if source.kind == "code" else 5 for source in config.sources}
    return sum(8 * source.text_bytes // bytes_per_word[source.name] for source in sources)


def _plan(source: Source, files: list[SourceFile]) -> SourcePlan:
    size = sum(file.size for file in files)
    read = text = 0
    for file in files[:: -(-len(files) // SAMPLE_FILES)]:
        for record in read_files(source, (file,)):
            text += len(record.text.encode()) if isinstance(record, Document) else 0
            if text > SAMPLE_BYTES:
                break
        read += file.size
        if read > SAMPLE_BYTES:
            break
    text_bytes = size * text // read if read else 0
    return SourcePlan(source.name, len(files), size, text_bytes, text_bytes // BYTES_PER_TOKEN)
