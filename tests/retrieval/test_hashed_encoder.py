"""The encoder without a model: stable, of unit norm, and near where words are shared."""

import numpy as np
import pytest

from jobs.core.errors import UsageError
from jobs.corpus.token_counter import load_token_counter
from jobs.retrieval import encoder
from jobs.retrieval.hashed_encoder import HashedEncoder

PLACES_OF_RANK = {64: 0.257, 125: 0.257, 157: 0.257, 225: -0.857, 241: -0.257}  # the word and its four trigrams
TEXTS = ["low rank adapters", "adapters of low rank", "a shuffle moves rows", "", "…"]


def test_every_text_has_a_vector_of_unit_norm() -> None:
    assert np.allclose(np.linalg.norm(HashedEncoder().encode(TEXTS), axis=1), 1, atol=1e-6)


def test_shared_words_are_nearer_than_others() -> None:
    first, second, third = HashedEncoder().encode(TEXTS[:3])
    assert first @ second > 0.99 > 0.5 > abs(first @ third)


def test_shared_stem_is_nearer_than_none() -> None:
    one, near, far = HashedEncoder().encode(["quantization", "quantized", "shuffle"])
    assert one @ near > one @ far + 0.1


def test_vector_of_a_word_is_the_same_in_every_process_and_version() -> None:
    vector = HashedEncoder().encode(["rank"])[0]
    assert {int(i): round(float(vector[i]), 3) for i in np.flatnonzero(vector)} == PLACES_OF_RANK


def test_question_is_encoded_as_a_passage_is() -> None:
    assert np.array_equal(HashedEncoder().encode_question(TEXTS[0]), HashedEncoder().encode(TEXTS[:1])[0])


def test_it_is_loaded_by_name() -> None:
    assert encoder.load_encoder("builtin:hashed").card == encoder.read_card("builtin:hashed")
    assert encoder.installed_revision("builtin:hashed") == HashedEncoder.card.revision


@pytest.mark.parametrize("name", encoder.BUILTIN)
def test_every_builtin_counts_its_tokens(name: str) -> None:
    assert load_token_counter(name).max_tokens == encoder.read_card(name).max_tokens


def test_unknown_builtin_is_refused() -> None:
    with pytest.raises(UsageError, match=r"builtin:magic.*builtin:hashed"):
        encoder.load_encoder("builtin:magic")
