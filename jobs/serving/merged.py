"""The merged weights of an accepted student: made once an adapter, checked, and only then a part of `models`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from jobs.core import durable
from jobs.core.lake import Attempt, Lake, Part, PartTask
from jobs.core.manifest import Counts, make_key
from jobs.serving import merge, model_card
from jobs.serving.candidate import ServedStudent
from jobs.tuning.bases import Base
from jobs.tuning.learnt import TRAINING_FILE
from jobs.tuning.loading import choose_precision
from jobs.tuning.student import Messages, Student

log = logging.getLogger(__name__)

VERSION = 1
PART = "all"


def merged_model(lake: Lake, student: ServedStudent, dtype: str, device: str, prompts: Sequence[Messages]) -> Part:
    """The model of a student, current in `models` when this returns. Raises ContractError if it is not the student."""
    task = _task(lake, student.adapter, dtype)
    if lake.has(task.dataset, PART, task.request_key):
        if task.seen_key != task.request_key:
            lake.point(task.dataset, PART, task.request_key)
        return lake.published(task.dataset, PART, task.request_key)
    with lake.attempt(task) as attempt:
        _make(lake, attempt, student, dtype, device, prompts)
    return lake.published(task.dataset, PART, task.request_key)


def n_parameters(base: Base) -> int:
    """How many numbers a base's files hold."""
    from jobs.serving import tensor_files

    return sum(
        one.n_values for path in base.folder.glob("*.safetensors") for one in tensor_files.read_header(path).values()
    )


def _task(lake: Lake, adapter: Part, dtype: str) -> PartTask:
    """The model is a part like any other; it is made by need, so the runner does not plan it."""
    inputs, settings = (adapter.as_input,), {"merged_dtype": dtype}
    key = make_key("merge_and_deploy", VERSION, settings, inputs)
    seen = lake.current_key("models", PART)
    return PartTask(
        "merge_and_deploy", VERSION, "models", PART, key, inputs, settings, {}, "to do", "a student was accepted", seen
    )


def _make(
    lake: Lake, attempt: Attempt, student: ServedStudent, dtype: str, device: str, prompts: Sequence[Messages]
) -> None:
    base, adapter = student.base, student.adapter
    adapter.verify()
    training: dict[str, Any] = json.loads(adapter.file(TRAINING_FILE).read_bytes())
    merge.merge(base.folder, adapter.folder, attempt.folder, trained_in=training["dtype"], dtype=dtype)
    kl = _difference(base, adapter, attempt, device, prompts)
    card = model_card.text_of(lake, student, n_parameters(base), kl)
    durable.write_atomic(attempt.folder / "README.md", card.encode())
    attempt.finish(Counts(1, 1), rows=1, extra={"base": base.name, "dtype": dtype, "kl_nats": kl})


def _difference(base: Base, adapter: Part, attempt: Attempt, device: str, prompts: Sequence[Messages]) -> float:
    """How far the merged model is from the trained one, nats a token; one after the other, for both may not fit."""
    precision = choose_precision(device)
    with Student.load(base, adapter.folder, precision) as trained:
        wanted = [trained.logits(messages) for messages in prompts]
    with Student.load_merged(attempt.folder, precision, attempt.work / "spill") as merged:
        got = [merged.logits(messages) for messages in prompts]
    return merge.require_same(wanted, got, merge.MAX_KL)
