"""Every dataset of the lake: its columns, keys, files and reasons (reasons.py), each declared once.

A column has one type, unit and meaning wherever it occurs. `docs/datasets.md` is generated from this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.core.reasons import (
    ADAPTER_REASONS,
    CHUNK_REASONS,
    DOCUMENT_REASONS,
    DRAFT_REASONS,
    EMBEDDING_REASONS,
    INDEX_REASONS,
    LOW_VALUE_REASONS,
    PAPER_REASONS,
    PDF_REASONS,
    QA_REASONS,
    SNAPSHOT_REASONS,
    Reason,
)

if TYPE_CHECKING:
    import pyarrow

CONTRACT_VERSION = 1


@dataclass(frozen=True)
class Field:
    """One column: Arrow type as text (see `arrow_type`), meaning with its unit."""

    type: str
    meaning: str
    in_digest: bool = True  # False for what says where or when, not what
    is_late: bool = False  # parts of an older program lack the column, which reads as null there


@dataclass(frozen=True)
class Dataset:
    """A dataset of the lake. `key` are the columns that name a row; `files` are all that a part may hold."""

    name: str
    meaning: str
    grain: str
    key: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    reasons: dict[str, Reason] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)  # reasons that a column gives for a row that is kept
    retired_versions: tuple[int, ...] = ()  # contract versions that readers refuse

    def schema(self) -> pyarrow.Schema:
        """The Arrow schema of the rows, columns in the declared order."""
        import pyarrow as pa

        return pa.schema([pa.field(name, arrow_type(FIELDS[name].type)) for name in self.columns])

    @property
    def digest_columns(self) -> tuple[str, ...]:
        """The columns that say what a row is, without where it came from."""
        return tuple(name for name in self.columns if FIELDS[name].in_digest)


# Nested types. A struct is named in a column's type: list<section>.
STRUCTS: dict[str, dict[str, str]] = {
    "section": {"title": "string", "level": "int32", "start": "int32", "end": "int32"},
    "block": {"kind": "string", "start": "int32", "end": "int32"},
    "count": {"name": "string", "n": "int32"},
    "score": {"name": "string", "value": "float64"},
}

# Kinds of a block of a document's text; a chunk holds blocks of one kind (paragraph, heading and formula together
# are "text").
BLOCK_KINDS = ("paragraph", "heading", "formula", "caption", "table", "footnote", "references", "front_matter")
CHUNK_KINDS = ("text", "caption", "table", "footnote", "references", "front_matter")

FIELDS: dict[str, Field] = {
    # papers
    "paper_id": Field("string", "arXiv id without version, as arXiv writes it: 2205.14135, hep-th/9109009"),
    "version": Field("int32", "version of the paper that the row is about, counted from 1"),
    "title": Field("string", "title, blanks collapsed, TeX kept"),
    "abstract": Field("string", "abstract, blanks collapsed; empty where the source has none"),
    "authors": Field("list<string>", "authors in order, as `First Last`"),
    "categories": Field("list<string>", "arXiv categories, primary first; empty for a PDF without metadata"),
    "primary_category": Field("string", "first of `categories`; null for a PDF without metadata"),
    "submitted_at": Field("timestamp", "when the first version was submitted, UTC"),
    "updated_at": Field("timestamp", "when the newest version was submitted, UTC"),
    "submitted_from": Field("string", "`version` (a version's date) or `id` (first day of the id's month)"),
    "license": Field("string", "URI of the licence; null means arXiv's own non-exclusive licence is assumed"),
    "is_withdrawn": Field("bool", "the newest version has no PDF because it was withdrawn"),
    # pdfs
    "status": Field("string", "`ok` or `rejected`"),
    "reason": Field("string", "why the row was refused, from the dataset's closed list; null if it was kept"),
    "url": Field("string", "where the file came from", in_digest=False),
    "path": Field("string", "the file below pdfs/_files", in_digest=False),
    "sha256": Field("string", "sha256 of the file, hexadecimal"),
    "size_bytes": Field("int64", "size of the file in bytes"),
    "pdf_version": Field("int32", "version of the PDF that was got; null if unknown"),
    # documents
    "pdf_sha256": Field("string", "sha256 of the PDF that the text comes from"),
    "detail": Field("string", "what the reader of logs wants to know of a refusal; null if kept", in_digest=False),
    "text": Field("string", "clean text, paragraphs parted by blank lines"),
    "sections": Field("list<section>", "section tree in order: title, level from 1, span in characters of `text`"),
    "blocks": Field("list<block>", "paragraphs, headings, captions … in order: kind, span in characters of `text`"),
    "pages": Field("list<int32>", "character of `text` where each page begins"),
    "n_pages": Field("int32", "pages of the PDF"),
    "quality_01": Field("float32", "0 to 1, how much the text looks like clean prose"),
    "cleaned": Field("list<count>", "how often each cleaning step acted", in_digest=False),
    "text_hash": Field("string", "sha256 of `text`, hexadecimal"),
    # chunks
    "chunk_id": Field("string", "<paper_id>v<version>#<ordinal>"),
    "start": Field("int32", "first character of the chunk in its document's `text`"),
    "end": Field("int32", "character after its last; text == document.text[start:end]"),
    "section_path": Field("list<string>", "titles of the sections around the chunk, outermost first"),
    "kind": Field("string", "one of " + ", ".join(CHUNK_KINDS)),
    "page_first": Field("int32", "page of its first character, from 1"),
    "page_last": Field("int32", "page of its last character, from 1"),
    "n_tokens": Field("int32", "tokens by the embedder's tokenizer, with its special tokens"),
    "document_hash": Field("string", "`text_hash` of the chunk's document"),
    "low_value": Field("string", "mark that says why no question is asked about the chunk; null if none", is_late=True),
    # embeddings
    "vector": Field("list<float>", "embedding of the chunk, unit norm"),
    # drafts, qa
    "qa_id": Field("string", "hash of (text_hash or, of two chunks, of both; prompt hash, teacher, type), 0"),
    "chunk_ids": Field("list<string>", "chunks that the answer rests on"),
    "question": Field("string", "question, understandable without the paper"),
    "answer": Field("string", "answer"),
    "evidence": Field("list<string>", "one verbatim quote a chunk, blanks apart; none if not answerable"),
    "question_type": Field("string", "as the prompts file names it: definition, method, result …"),
    "is_answerable": Field("bool", "False: no passage says it, the answer is the refusal"),
    "teacher": Field("string", "who wrote the pair: a name with its revision"),
    "prompt_version": Field("string", "name and hash of the prompt"),
    "split": Field("string", "train, validation or test, by paper"),
    "scores": Field("list<score>", "checks of the pair with their values: see operations.md"),
    # takedowns
    "taken_down_at": Field("timestamp", "when the paper was taken down, UTC", in_digest=False),
    "why": Field("string", "what the owner said of it; null if nothing", in_digest=False),
    "windows": Field("list<string>", "windows whose parts held the paper then, which are made anew", in_digest=False),
    # reviews
    "verdict": Field("string", "what a reviewer decided of the pair: `keep` or `drop`"),
    "note": Field("string", "what the reviewer noted; null if nothing", in_digest=False),
    "reviewed_at": Field("timestamp", "when the decision came in, UTC", in_digest=False),
    # rejects of a file
    "source": Field("string", "part of `snapshots` that holds the line"),
    "offset": Field("int64", "byte where the line begins"),
    "line": Field("string", "the line's first 2,000 characters"),
}

_TABLE = ("rows.parquet",)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "snapshots",
            "metadata as the source has it: one JSON object a line, in the form of Kaggle's arXiv file",
            grain="source",
            key=("paper_id",),
            files=("metadata.jsonl",),
            reasons=SNAPSHOT_REASONS,
        ),
        Dataset(
            "papers",
            "the papers of a window that the lake is about, newest record of each",
            grain="window",
            key=("paper_id", "version"),
            columns=_names(
                "paper_id version title abstract authors categories primary_category submitted_at updated_at"
                " submitted_from license is_withdrawn"
            ),
            files=("rows.parquet", "rejects.parquet"),
            reasons=PAPER_REASONS,
        ),
        Dataset(
            "pdfs",
            "what became of every paper's PDF; the files themselves lie in pdfs/_files",
            grain="window",
            key=("paper_id", "version"),
            columns=_names("paper_id version status reason pdf_version url path sha256 size_bytes"),
            files=_TABLE,
            reasons=PDF_REASONS,
        ),
        Dataset(
            "documents",
            "clean text of every PDF that came, or why there is none",
            grain="window",
            key=("paper_id", "version"),
            columns=_names(
                "paper_id version status reason detail pdf_version pdf_sha256 text text_hash sections blocks pages"
                " n_pages quality_01 cleaned"
            ),
            files=_TABLE,
            reasons=DOCUMENT_REASONS,
        ),
        Dataset(
            "chunks",
            "passages of documents, each inside one section and the embedder's token limit",
            grain="window",
            key=("chunk_id",),
            columns=_names(
                "chunk_id paper_id version text start end section_path kind page_first page_last n_tokens text_hash"
                " document_hash low_value"
            ),
            files=_TABLE,
            reasons=CHUNK_REASONS,
            marks=LOW_VALUE_REASONS,
        ),
        Dataset(
            "embeddings",
            "one vector a chunk",
            grain="window",
            key=("chunk_id",),
            columns=_names("chunk_id text_hash vector"),
            files=_TABLE,
            reasons=EMBEDDING_REASONS,
        ),
        Dataset(
            "drafts",
            "question-answer pairs as the teacher wrote them",
            grain="window, shard",
            key=("qa_id",),
            columns=_names(
                "qa_id chunk_ids paper_id question answer evidence question_type is_answerable teacher prompt_version"
            ),
            files=("rows.parquet", "asked.parquet"),
            reasons=DRAFT_REASONS,
        ),
        Dataset(
            "indexes",
            "vectors, words and, in passages.parquet, texts of the newest version of every paper, ready to search",
            grain="all",
            key=("chunk_id",),
            columns=_names(
                "chunk_id paper_id version title authors section_path page_first page_last kind categories"
                " primary_category submitted_at license text text_hash start end"
            ),
            reasons=INDEX_REASONS,
        ),
        Dataset(
            "qa",
            "the pairs that passed every check, split by paper; refused pairs in a file of their own",
            grain="all",
            key=("qa_id",),
            columns=_names(
                "qa_id chunk_ids paper_id question answer evidence question_type is_answerable teacher prompt_version"
                " split license scores"
            ),
            files=("rows.parquet", "refused.parquet", "judged.parquet"),
            reasons=QA_REASONS,
        ),
        Dataset("bases", "student bases made or converted here; never remade under the same name", grain="name"),
        Dataset(
            "adapters",
            "LoRA weights with the base they belong to and the papers they learnt from; a pair is a row",
            grain="all",
            reasons=ADAPTER_REASONS,
        ),
        Dataset("reports", "scores of every system on the test papers, and the gate's verdict", grain="all"),
        Dataset("models", "merged weights of an accepted student", grain="all"),
        Dataset(
            "releases", "what the chat app serves: an index, prompts, a report, and a model if one passed", grain="all"
        ),
        Dataset(
            "takedowns",
            "papers that their owners want out, made by `prune --paper`",
            grain="source",
            key=("paper_id",),
            columns=_names("paper_id taken_down_at why windows"),
            files=_TABLE,
        ),
        Dataset(
            "reviews",
            "what people decided about pairs, newest decision of each; question and answer are null unless edited",
            grain="source",
            key=("qa_id",),
            columns=_names("qa_id paper_id verdict question answer note reviewed_at"),
            files=_TABLE,
        ),
        Dataset("questions", "the owner's own test questions and those that readers marked", grain="source"),
    )
}

REJECT_COLUMNS = ("source", "offset", "reason", "line")


def arrow_type(text: str) -> pyarrow.DataType:
    """Arrow type from its text: `string`, `int32`, `timestamp`, `list<T>`, or a struct's name.

    Raises KeyError for an unknown name.
    """
    import pyarrow as pa

    if text.startswith("list<"):
        return pa.list_(arrow_type(text[len("list<") : -1]))
    if text in STRUCTS:
        return pa.struct([pa.field(name, arrow_type(inner)) for name, inner in STRUCTS[text].items()])
    simple = {
        "string": pa.string(),
        "bool": pa.bool_(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float": pa.float32(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
    return simple[text]


def rejects_schema() -> pyarrow.Schema:
    """Schema of the file that keeps refused lines of a snapshot."""
    import pyarrow as pa

    return pa.schema([pa.field(name, arrow_type(FIELDS[name].type)) for name in REJECT_COLUMNS])
