import math
import threading
from collections.abc import Iterator

import pytest

from jobs.core.errors import ContractError, UsageError
from jobs.tuning import bases, fitting, loading
from jobs.tuning.student import Student, _batches

pytestmark = pytest.mark.slow
CPU = loading.Precision("float32", "cpu", "test")
ASKED = [{"role": "user", "content": "What is the base of the adapter?"}]
ANSWER = "The base is a language model."


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bases.Base:
    return bases.open_base(bases.TINY, bases.make_tiny(tmp_path_factory.mktemp("tiny")), "seed 0")


@pytest.fixture(scope="module")
def student(base: bases.Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Student]:
    """Trained for a few large steps to say ANSWER."""
    rows = [{"prompt": ASKED, "completion": [{"role": "assistant", "content": ANSWER}]}] * 8
    recipe = fitting.Recipe(256, 4, 1, 1, 0.02, 8, 16, 0.0, False, False, 10, 0)
    made = fitting.fit(base, rows, recipe, CPU, tmp_path_factory.mktemp("fit"))
    with Student.load(base, made.adapter, CPU) as loaded:
        yield loaded


def test_adapter_has_learnt_what_it_was_trained_on(student: Student) -> None:
    assert student.answer_loss(ASKED, ANSWER) < student.answer_loss(ASKED, ANSWER, with_adapter=False) - 0.5


def test_base_is_unchanged_after_the_adapter_was_used(student: Student, base: bases.Base) -> None:
    student.answer_loss(ASKED, ANSWER)
    with Student.load(base, None, CPU) as plain:
        assert plain.answer_loss(ASKED, ANSWER) == student.answer_loss(ASKED, ANSWER, with_adapter=False)


def test_losses_are_the_same_alone_and_in_a_batch(student: Student) -> None:
    rows = [(ASKED, ANSWER), (ASKED, "It is a much longer answer that is about low rank and the model of the base.")]
    alone = [student.answer_loss(*row) for row in rows]
    assert student.answer_losses(rows) == pytest.approx(alone, abs=1e-4)


def test_loss_is_the_mean_over_the_answers_tokens(student: Student) -> None:
    """By the definition, from the logits after every token."""
    import torch

    prompt, rest = student._split(ASKED, ANSWER)
    whole = [*ASKED, {"role": "assistant", "content": ANSWER}]
    text = loading.text_of(student._tokenizer, whole, is_open=False)
    assert loading.ids_of(student._tokenizer, text) == prompt + rest
    with torch.inference_mode():
        logits = student._model(input_ids=torch.tensor([prompt + rest])).logits[0].float()
    logs = torch.log_softmax(logits, dim=-1)
    by_hand = [-float(logs[len(prompt) + i - 1, token]) for i, token in enumerate(rest)]
    assert student.answer_loss(ASKED, ANSWER) == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-3)


def test_answers_are_the_same_alone_and_in_a_batch(student: Student) -> None:
    others = [{"role": "user", "content": "Why? " * 20}]
    together = student.generate_batch([ASKED, others], 12)
    assert together == [student.generate_batch([ASKED], 12)[0], student.generate_batch([others], 12)[0]]


def test_pieces_add_up_to_the_answer(student: Student) -> None:
    n_before = student.n_generated
    pieces = list(student.generate(ASKED, 12))
    assert len(pieces) > 1
    assert len(pieces) <= student.n_generated - n_before <= 12
    assert "".join(pieces).strip() == student.generate_batch([ASKED], 12)[0]


def test_answer_says_whether_its_length_cut_it(student: Student) -> None:
    def is_cut(max_new_tokens: int) -> bool:
        pieces = student.generate(ASKED, max_new_tokens)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value

    n_before = student.n_generated
    assert is_cut(3)
    stopped = threading.Event()
    stopped.set()
    assert [*student.generate(ASKED, 50, stopped)] == [*student.generate(ASKED, 1)]
    assert student.n_generated - n_before == 5


def test_stop_ends_the_answer_early(student: Student) -> None:
    stop = threading.Event()
    pieces = []
    for piece in student.generate(ASKED, 2000, stop):
        pieces.append(piece)
        stop.set()
    assert len(pieces) < 100


def test_closing_the_reader_stops_the_model(student: Student) -> None:
    reading = student.generate(ASKED, 2000)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert threading.active_count() < 20
    assert student.generate_batch([ASKED], 2)  # the lock is free


def test_error_in_the_model_reaches_the_reader(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(student, "_run", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        list(student.generate(ASKED, 4))


def test_adapter_of_another_base_is_refused(base: bases.Base, student: Student, tmp_path: object) -> None:
    with pytest.raises(ContractError, match="belongs to the base"):
        Student.load(bases.Base("another", base.folder, "r", "s"), _adapter_of(student), CPU)


def _adapter_of(student: Student) -> object:
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp())
    student._model.save_pretrained(folder)
    return folder


def test_expanded_layers_hold_the_values_of_the_quantized_ones(base: bases.Base) -> None:
    import torch

    model, tokenizer = loading.load_quantized(base, CPU)
    ids = torch.tensor([loading.ids_of(tokenizer, "the model reads the question")])
    with torch.no_grad():
        before = model.train()(input_ids=ids).logits
        loading.expand(model)
        after = model.eval()(input_ids=ids).logits
    assert not [one for one in model.modules() if type(one).__name__ == "Linear4bit"]
    assert torch.allclose(before, after, atol=1e-5)


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_precision_follows_the_card(capability: tuple[int, int], dtype: str) -> None:
    assert loading.precision_of(capability, "cuda:0").dtype == dtype


def test_card_that_is_too_old_is_refused() -> None:
    with pytest.raises(UsageError, match=r"6\.1"):
        loading.precision_of((6, 1), "cuda:0")


def test_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="cuda:99"):
        loading.choose_precision("cuda:99")


def test_batches_hold_every_row_once_within_their_budget() -> None:
    lengths = [5, 900, 30, 30, 30, 2000, 1]
    batches = _batches(lengths, 1000)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or max(lengths[p] for p in batch) * len(batch) <= 1000 for batch in batches)


def test_unsaid_answer_has_no_loss(student: Student) -> None:
    assert math.isfinite(student.answer_loss(ASKED, ""))  # the end mark alone is still a token
