"""The teacher in this process: a model of random weights still writes JSON of the asked form, or is cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import UsageError
from jobs.tuning import prefix_cache, prompt_file
from jobs.tuning.chat import ChatReply
from jobs.tuning.prompts import FORMS, ONE_PASSAGE, TWO_PASSAGES, UNANSWERABLE, Form
from jobs.tuning.teacher import (
    ModelTeacher,
    Pair,
    Teacher,
    TeacherReply,
    TeacherRequest,
    TeacherSettings,
    load_teacher,
    read_pair,
)
from jobs.tuning.transformers_chat import TransformersChat

pytestmark = pytest.mark.slow

REQUESTS = [
    TeacherRequest("Rain fell. " * n, "", "Weather", kind, n, form)
    for n, kind, form in (
        (3, "why", ONE_PASSAGE),
        (20, "multi_chunk", TWO_PASSAGES),
        (9, "unanswerable", UNANSWERABLE),
    )
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from jobs.tuning.tiny_base import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny"))


def teacher(folder: Path, **settings: Any) -> Teacher:
    return load_teacher("transformers", TeacherSettings(model=str(folder), device="cpu", **settings))


def test_finished_replies_parse_and_keep_their_bounds(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = {"type": "string", "minLength": 3, "maxLength": 12}
    for name, form in list(FORMS.items()):
        short = form.schema | {"properties": dict.fromkeys(form.schema["properties"], bounds)}
        monkeypatch.setitem(FORMS, name, Form(form.n_passages, short))
    replies = teacher(tiny, max_new_tokens=250, batch_size=3).write(REQUESTS)
    assert not any(reply.is_cut for reply in replies)
    for request, content in zip(REQUESTS, (json.loads(reply.text or "") for reply in replies), strict=True):
        assert list(content) == list(FORMS[request.form].schema["properties"])
        assert all(3 <= len(text) <= 12 for text in content.values())


def test_cut_reply_is_truncated_and_never_mended(tiny: Path) -> None:
    replies = teacher(tiny, max_new_tokens=12).write(REQUESTS)
    assert [read_pair(reply) for reply in replies] == ["truncated"] * 3


def test_replies_do_not_depend_on_their_neighbours(tiny: Path) -> None:
    made = teacher(tiny, max_new_tokens=16, batch_size=3)
    alone = [made.write([request])[0] for request in REQUESTS]
    assert made.write(REQUESTS) == alone


def test_examples_are_read_once_a_form_and_change_no_reply(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"max_new_tokens": 8, "batch_size": 2}
    chat = TransformersChat(TeacherSettings(model=str(tiny), device="cpu", **settings))
    made = ModelTeacher(chat, prompt_file.built_in())
    chat._load()
    lengths: list[int] = []
    forward = chat._model.forward

    def noting(*args: Any, **words: Any) -> Any:
        lengths.append(words["input_ids"].shape[1])
        return forward(*args, **words)

    monkeypatch.setattr(chat._model, "forward", noting)
    replies = made.write(REQUESTS)
    assert sum(n > 1 for n in lengths) == len(FORMS) + 2, "a reading a form, and one a batch"
    made.write(REQUESTS[:1])
    assert sum(n > 1 for n in lengths) == len(FORMS) + 3
    monkeypatch.setattr(prefix_cache, "_keeps_every_token", lambda _model: False)
    assert teacher(tiny, **settings).write(REQUESTS) == replies


def test_model_whose_cache_forgets_reads_every_prompt_whole(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM, MistralConfig

    model = AutoModelForCausalLM.from_config(MistralConfig.from_pretrained(tiny, sliding_window=64))
    inputs = prefix_cache.PrefixCache(model, pad_token_id=0).inputs([[5, 6, 7], [5, 6, 7, 8]], [[5, 6], [5, 6]])
    assert inputs["input_ids"].tolist() == [[0, 5, 6, 7], [5, 6, 7, 8]]
    assert set(inputs) == {"input_ids", "attention_mask"}


def test_row_takes_of_its_beginning_what_is_its_own(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    rows, beginnings = [[5, 6, 7, 8], [5, 9, 7], [5, 6], [4]], [[5, 6, 7], [5, 6, 7], [5, 6, 7], []]
    inputs = prefix_cache.PrefixCache(model, pad_token_id=0).inputs(rows, beginnings)
    assert inputs["input_ids"].tolist() == [
        [5, 6, 7, 0, 8],
        [0, 0, 5, 9, 7],
        [0, 0, 5, 0, 6],
        [0, 0, 0, 0, 4],
    ]
    assert inputs["attention_mask"].sum(1).tolist() == [len(row) for row in rows]
    assert inputs["past_key_values"].get_seq_length() == 3


def test_out_of_memory_halves_the_batch_and_fails_one_prompt_at_last(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    sizes: list[int] = []
    generate = TransformersChat._generate

    def short_of_memory(self: TransformersChat, asked: list) -> list[ChatReply]:
        sizes.append(len(asked))
        if len(asked) > 1 or len(asked[0].text) == longest:
            raise torch.OutOfMemoryError("toy")
        return generate(self, asked)

    chat = TransformersChat(TeacherSettings(model=str(tiny), device="cpu", max_new_tokens=12, batch_size=3))
    made = ModelTeacher(chat, prompt_file.built_in())
    chat._load()
    longest = max(len(chat._text(made._prompt(request))) for request in REQUESTS)
    monkeypatch.setattr(TransformersChat, "_generate", short_of_memory)
    assert [read_pair(reply) for reply in made.write(REQUESTS)] == ["truncated", "teacher_failed", "truncated"]
    assert sizes == [3, 1, 2, 1, 1]


def test_name_carries_the_revision_of_the_weights(tiny: Path, tmp_path: Path) -> None:
    from jobs.tuning.tiny_base import make_tiny

    assert teacher(tiny).name == teacher(tiny).name
    assert teacher(tiny).name.split("@")[1] != teacher(make_tiny(tmp_path / "other", seed=1)).name.split("@")[1]


@pytest.mark.parametrize("model", [None, "someone/some-model"])
def test_unpinned_model_is_refused(model: str | None) -> None:
    with pytest.raises(UsageError, match="--teacher-model"):
        load_teacher("transformers", TeacherSettings(model=model))


def test_good_pair_survives_reading() -> None:
    text = json.dumps({"question": " Why? ", "answer": "Because.", "evidence": "Because."})
    assert read_pair(TeacherReply(text)) == Pair("Why?", "Because.", "Because.")
