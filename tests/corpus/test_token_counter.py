import hashlib
import json
import shutil

import pytest

from jobs.core.errors import ContractError, InputMissingError, UsageError
from jobs.corpus import token_counter
from jobs.corpus.token_counter import load_token_counter

EMBEDDER = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def minilm():
    return load_token_counter(EMBEDDER)


@pytest.fixture
def folder(tmp_path):
    """An embedder's folder with the packaged tokenizer and nothing beside it."""
    shutil.copy(token_counter._packaged_folder(EMBEDDER) / "tokenizer.json", tmp_path)
    return tmp_path


def test_limit_is_the_models_not_the_tokenizers(minilm):
    assert minilm.max_tokens == 256


def test_count_includes_special_tokens(minilm):
    assert minilm.count("attention") == 1 + minilm.n_special == 3


def test_count_is_not_truncated_or_padded(minilm):
    assert minilm.count("attention " * 1000) == 1002
    assert minilm.count("") == 2


def test_count_batch_equals_single_counts(minilm):
    texts = ["", "low rank", "Größe 😀 \U0001d465", "x" * 500]
    assert minilm.count_batch(texts) == [minilm.count(text) for text in texts]


def test_encode_batch_gives_character_offsets(minilm):
    (encoding,) = minilm.encode_batch(["é😀 rank"])
    assert encoding.token_to_chars(len(encoding) - 1) == (3, 7)


def test_revision_is_sha256_of_the_tokenizer_file(minilm, folder):
    assert minilm.revision == hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()


def test_local_folder_is_an_embedder(minilm, folder):
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 100}')
    counter = load_token_counter(str(folder))
    assert (counter.max_tokens, counter.revision) == (100, minilm.revision)


def test_smallest_limit_counts_where_the_model_names_none(folder):
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": null}')
    (folder / "config.json").write_text('{"max_position_embeddings": 514}')
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 512}')
    assert load_token_counter(str(folder)).max_tokens == 512


def test_embedder_without_limit_is_refused(folder):
    with pytest.raises(UsageError, match="max_seq_length"):
        load_token_counter(str(folder))


def test_hashed_embedder_counts_words_and_marks():
    counter = load_token_counter("builtin:hashed")
    (encoding,) = counter.encode_batch(["low-rank, größe"])
    assert encoding.offsets == [(0, 3), (3, 4), (4, 8), (8, 9), (10, 15)]
    assert (counter.count("low-rank, größe"), counter.n_special, counter.is_additive) == (5, 0, True)


def test_unknown_builtin_is_not_looked_up_on_the_hub():
    with pytest.raises(UsageError, match=r"builtin:magic.*builtin:hashed"):
        load_token_counter("builtin:magic")


def test_broken_limit_file_is_refused_by_name(folder):
    (folder / "config.json").write_text("[]")
    with pytest.raises(ContractError, match=r"config\.json"):
        load_token_counter(str(folder))


def test_broken_tokenizer_is_refused_by_name(folder):
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 100}')
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ContractError, match=r"tokenizer\.json"):
        load_token_counter(str(folder))


def test_folder_without_tokenizer_is_missing_input(tmp_path):
    with pytest.raises(InputMissingError, match=r"no tokenizer\.json"):
        load_token_counter(str(tmp_path))


def test_absent_folder_is_not_looked_up_on_the_hub(tmp_path):
    with pytest.raises(InputMissingError, match="no such folder"):
        load_token_counter(str(tmp_path / "absent"))


def test_absent_package_names_the_remedy(monkeypatch):
    monkeypatch.setitem(token_counter.PACKAGED, EMBEDDER, "a_package_that_is_not_there")
    with pytest.raises(InputMissingError, match="make setup"):
        load_token_counter(EMBEDDER)


@pytest.fixture
def offline_hub(monkeypatch, tmp_path):
    """The Hub's cache, without the Hub. Gives the folder of a repository's only snapshot."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--group--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def test_hub_name_is_taken_from_the_cache(offline_hub, folder, minilm):
    shutil.copy(folder / "tokenizer.json", offline_hub)
    (offline_hub / "sentence_bert_config.json").write_text('{"max_seq_length": 384}')
    counter = load_token_counter("group/model")
    assert (counter.max_tokens, counter.revision) == (384, minilm.revision)


@pytest.mark.parametrize("name", ["group/unknown", "no such name"])
def test_unknown_hub_name_says_what_was_expected(offline_hub, name):
    with pytest.raises(InputMissingError, match=f"{name}.*{EMBEDDER}"):
        load_token_counter(name)


def test_bert_family_is_additive_and_a_byte_level_tokenizer_is_not(minilm, folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    content["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 100}')
    assert minilm.is_additive
    assert not load_token_counter(str(folder)).is_additive
