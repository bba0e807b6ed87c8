"""The encoder without a model: stable, of unit norm, and near where words are shared."""

import hashlib

import numpy as np
import pytest

from jobs.core.errors import UsageError
from jobs.retrieval import encoder
from jobs.retrieval.hashed_encoder import HashedEncoder

TEXTS = ["low rank adapters", "adapters of low rank", "a shuffle moves rows", "", "…"]


def test_every_text_has_a_vector_of_unit_norm() -> None:
    assert np.allclose(np.linalg.norm(HashedEncoder().encode(TEXTS), axis=1), 1, atol=1e-6)


def test_shared_words_are_nearer_than_others() -> None:
    first, second, third = HashedEncoder().encode(TEXTS[:3])
    assert first @ second > 0.99 > 0.5 > abs(first @ third)


def test_shared_stem_is_nearer_than_none() -> None:
    one, near, far = HashedEncoder().encode(["quantization", "quantized", "shuffle"])
    assert one @ near > one @ far + 0.1


def test_vectors_are_the_same_in_every_process_and_version() -> None:
    content = np.round(HashedEncoder().encode(TEXTS), 4).tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == "EXPECTED"


def test_question_is_encoded_as_a_passage_is() -> None:
    assert np.array_equal(HashedEncoder().encode_question(TEXTS[0]), HashedEncoder().encode(TEXTS[:1])[0])


def test_it_is_loaded_by_name() -> None:
    assert encoder.load_encoder("builtin:hashed").card == encoder.read_card("builtin:hashed")
    assert encoder.installed_revision("builtin:hashed") == HashedEncoder.card.revision


def test_unknown_builtin_is_refused() -> None:
    with pytest.raises(UsageError, match="builtin:magic.*builtin:hashed"):
        encoder.load_encoder("builtin:magic")
