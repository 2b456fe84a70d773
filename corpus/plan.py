"""What a build would read and roughly what it would write, from a small sample of every source."""

from dataclasses import dataclass
from pathlib import Path

from castline.corpus.annotate.annotators import make_annotators
from castline.corpus.config import CorpusConfig, Source
from castline.corpus.documents import Document
from castline.corpus.readers import read_file
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
        DataError: a source matches no file, or a file that another table names is not what it should be.
        DeviceError: a package that the recipe needs is missing.
    """
    annotators = [str(annotator) for annotator in make_annotators(config, base)]
    sources = [_plan(source, find_files(source, base)) for source in config.sources]
    text = sum(source.text_bytes for source in sources)
    tokens = config.mix.tokens or sum(
        round(source.tokens * config_source.weight)
        for source, config_source in zip(sources, config.sources, strict=True)
    )
    # the documents, and the tokens twice: once encoded, once mixed
    return CorpusPlan(
        sources, annotators, output_bytes=text // COMPRESSION + 2 * (text // BYTES_PER_TOKEN) + 2 * tokens
    )


def _plan(source: Source, files: list[SourceFile]) -> SourcePlan:
    size = sum(file.size for file in files)
    read = text = 0
    for file in files[:: -(-len(files) // SAMPLE_FILES)]:
        for record in read_file(source, file):
            text += len(record.text.encode()) if isinstance(record, Document) else 0
            if text > SAMPLE_BYTES:
                break
        read += file.size
        if read > SAMPLE_BYTES:
            break
    text_bytes = size * text // read if read else 0
    return SourcePlan(source.name, len(files), size, text_bytes, text_bytes // BYTES_PER_TOKEN)
