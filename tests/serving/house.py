"""A lake with a made-up index, a searcher over it that needs no model, and the app on a free port."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import socket
import threading
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import uvicorn

from jobs.core import runner, tables
from jobs.core.errors import ContractError
from jobs.core.lake import Lake, Part, PartTask
from jobs.core.manifest import Counts
from jobs.core.runner import Request
from jobs.core.stages import STAGES
from jobs.retrieval.follow_ups import thread
from jobs.retrieval.quoting import Answer, answer_quoted
from jobs.retrieval.sentences import content_words
from jobs.serving import merge_and_deploy
from jobs.serving.app import make_app
from jobs.serving.release import OpenRetriever, OpenSpeaker, Release
from jobs.serving.served import Served
from jobs.serving.speaker import Speaker, SpeakerOpener

BY = "http://creativecommons.org/licenses/by/4.0/"
PASSAGES_FILE = "passages.parquet"


NO_SPEAKER = SpeakerOpener("cpu")  # its releases have no student


@dataclass(frozen=True)
class ToyPassage:
    """A passage as the searcher finds it."""

    chunk_id: str
    paper_id: str
    version: int
    title: str
    section: str
    page: int
    text: str
    license: str | None = BY
    kind: str = "text"
    score: float = 0.0
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class ToyFound:
    support_01: float
    passages: tuple[ToyPassage, ...]


class ToyStudent:
    """Says what it is told to, piece by piece, at most `max_new_tokens` of them; notes what it was asked."""

    def __init__(self, *pieces: str, pause_s: float = 0.0) -> None:
        self.pieces = pieces or ("NF4 ", "is a data type", ". [1]")
        self.pause_s = pause_s
        self.asked: list[tuple[str, bool, float]] = []
        self.n_said = 0
        self.n_generated = 0
        self.is_closed = False
        self._lock = threading.Lock()

    def generate(
        self,
        messages: list[dict[str, str]],
        max_new_tokens: int,
        stop: threading.Event,
        temperature: float = 0.0,
        *,
        with_adapter: bool = True,
    ) -> Generator[str, None, bool]:
        with self._lock:
            self.asked.append((messages[0]["content"], with_adapter, temperature))
            for piece in self.pieces[:max_new_tokens]:
                if stop.wait(self.pause_s):
                    return False
                self.n_said += 1
                self.n_generated += 1
                yield piece
        return len(self.pieces) > max_new_tokens

    def logits(self, _messages: list[dict[str, str]]) -> Any:
        import torch

        return torch.zeros(1, 4)

    def close(self) -> None:
        self.is_closed = True


class ToySearcher:
    """Passages by the number of words they share with the question."""

    def __init__(self, passages: Sequence[ToyPassage]) -> None:
        self._passages = passages

    @classmethod
    def open(cls, index: Part) -> ToySearcher:
        if (index.folder / "refuses").exists():
            raise RuntimeError("toy index refuses to open")
        rows = tables.read_table(index.file(PASSAGES_FILE)).to_pylist()
        return cls([passage_of(row) for row in rows])

    def search(
        self,
        question: str,
        k: int = 8,
        *,
        mode: str = "hybrid",
        paper_id: str | None = None,
        categories: Collection[str] | None = None,
        submitted_before: datetime | None = None,
        without: Collection[str] = (),
        per_paper: int = 3,
        before: Sequence[str] = (),
    ) -> ToyFound:
        asked = set(content_words(" ".join(thread(question, before))))
        scored = [
            dataclasses.replace(passage, score=len(asked & set(content_words(passage.text))) / max(1, len(asked)))
            for passage in self._passages
            if paper_id in (None, passage.paper_id) and passage.paper_id not in without
        ]
        best = sorted(scored, key=lambda passage: (-passage.score, passage.chunk_id))[:k]
        return ToyFound(best[0].score if best else 0.0, tuple(best))


def passage_of(row: dict[str, Any]) -> ToyPassage:
    return ToyPassage(
        chunk_id=row["chunk_id"],
        paper_id=row["paper_id"],
        version=row["version"],
        title=row["title"],
        section=" › ".join(row["section_path"]),
        page=row["page_first"],
        text=row["text"],
        license=row["license"],
        kind=row["kind"],
    )


def row(text: str, paper_id: str = "sample/2401002", ordinal: int = 0, **values: Any) -> dict[str, Any]:
    """One passage of an index."""
    return {
        "chunk_id": f"{paper_id}v1#{ordinal}",
        "paper_id": paper_id,
        "version": 1,
        "title": "QLoRA and the 4-bit NormalFloat Data Type",
        "section_path": ["NF4: 4-bit NormalFloat"],
        "page_first": 1,
        "kind": "text",
        "license": BY,
        "submitted_at": datetime(2024, 1, 2, tzinfo=UTC),
        "text": text,
    } | values


NF4 = row(
    "NF4 stands for 4-bit NormalFloat. It is a data type of sixteen values that are placed at quantiles of the normal "
    "distribution. QLoRA uses NF4 because the weights of a trained network are close to normally distributed with "
    "mean zero, so that each level is used about equally often. Integer levels would waste codes."
)
BM25 = row(
    "BM25 is a ranking function that scores a document by the words it shares with a query. It was made by Robertson "
    "and colleagues in the 1990s. The parameter k1 says how soon a word that is repeated stops counting.",
    "2205.14135",
    title="BM25 and what came after",
    section_path=["Ranking", "BM25"],
    page_first=2,
    submitted_at=datetime(2024, 2, 6, tzinfo=UTC),
)
ROWS = (NF4, BM25)


def ask(question: str, *passages: ToyPassage) -> Answer:
    """Quoted sentences of these passages, or of the two of the house, whatever their support."""
    found = ToySearcher(passages or [passage_of(row) for row in ROWS]).search(question)
    return answer_quoted(question, found, min_support_01=0.0)


def publish_index(lake: Lake, rows: Sequence[dict[str, Any]] = ROWS, extra_file: str | None = None) -> Part:
    """An index part that holds these passages."""
    key = hashlib.sha256(json.dumps([list(rows), extra_file], default=str).encode()).hexdigest()
    seen_key = lake.current_key("indexes", "all")
    task = PartTask("build_index", 1, "indexes", "all", key, (), {}, {}, "to do", "never made", seen_key)
    with lake.attempt(task) as attempt:
        schema = pa.Table.from_pylist([NF4]).schema
        tables.write_tables(attempt.folder / PASSAGES_FILE, schema, [pa.Table.from_pylist(list(rows), schema=schema)])
        if extra_file:
            (attempt.folder / extra_file).write_text("toy")
        attempt.finish(Counts(len(rows), len(rows)), rows=len(rows))
    part = lake.current("indexes", "all")
    assert part is not None
    return part


def publish_dataset(lake: Lake, dataset: str) -> None:
    """Some part `all` of a dataset that has not landed."""
    key = hashlib.sha256(dataset.encode()).hexdigest()
    task = PartTask("toy", 1, dataset, "all", key, (), {}, {}, "to do", "never made")
    with lake.attempt(task) as attempt:
        (attempt.folder / "toy").write_text("toy")
        attempt.finish(Counts(1, 1), rows=1)


def task_of_release(lake: Lake, **flags: Any) -> PartTask:
    request = Request(lake, {"flag": flags})
    return runner.survey(STAGES["merge_and_deploy"], request, merge_and_deploy)[0]


def deploy(lake: Lake, **flags: Any) -> str:
    """Run the stage as the command line does; the id of the release that is current then is returned."""
    request = Request(lake, {"flag": flags})
    stage = STAGES["merge_and_deploy"]
    runner.make_parts(stage, merge_and_deploy, request, runner.survey(stage, request, merge_and_deploy))
    key = lake.current_key("releases", "all")
    assert key is not None
    return key[:12]


def publish_release(lake: Lake, rows: Sequence[dict[str, Any]] = ROWS, extra_file: str | None = None) -> str:
    """An index and the release over it, published and current without any check."""
    publish_index(lake, rows, extra_file)
    task = task_of_release(lake)
    with lake.attempt(task) as attempt:
        merge_and_deploy.write_release(merge_and_deploy.Config(), attempt)
        attempt.finish(Counts(1, 1), rows=1)
    return task.request_key[:12]


def publish_unseen(lake: Lake, rows: Sequence[dict[str, Any]], extra_file: str | None = None) -> str:
    """A release that is published but that CURRENT does not name."""
    publish_index(lake, rows, extra_file)
    task = task_of_release(lake)

    def refuse(_folder: Path, _key: str) -> None:
        raise ContractError("toy check")

    with contextlib.suppress(ContractError), lake.attempt(task) as attempt:
        merge_and_deploy.write_release(merge_and_deploy.Config(), attempt)
        attempt.before_pointer = refuse
        attempt.finish(Counts(1, 1), rows=1)
    return task.request_key[:12]


@contextlib.contextmanager
def running(
    root: Path,
    *,
    follow_s: float = 60.0,
    is_public: bool = False,
    open_index: OpenRetriever | None = None,
    open_speaker: OpenSpeaker = NO_SPEAKER,
) -> Iterator[App]:
    """The app over a lake, in a thread, on a free port of the loopback. Its release is loaded, unless `open_index`."""
    served = Served(root, open_index or ToySearcher.open, open_speaker)
    if open_index is None:
        served.follow()
    app = make_app(served, is_public=is_public, follow_s=follow_s)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield App(url, client, served)
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@dataclass(frozen=True)
class App:
    """A running app and a client of it."""

    url: str
    client: httpx.Client
    served: Served

    def ask(self, question: str, **fields: Any) -> httpx.Response:
        body = {"model": "quoted", "messages": [{"role": "user", "content": question}]} | fields
        return self.client.post("/v1/chat/completions", json=body)

    def ready_id(self) -> str | None:
        return self.client.get("/readyz").json().get("release_id")


def wait_until(is_so: Any, wait_s: float = 20.0) -> None:
    deadline = time.monotonic() + wait_s
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def student_facts(**others: Any) -> dict[str, Any]:
    """What release.json says beside the rest where a student is served."""
    return {
        "serves": ["quoted", "student", "base"],
        "student": "toy-base (1 million parameters), trained on these papers.",
        "passages_read": 2,
        "passage_chars": 300,
        "max_answer_tokens": 50,
    } | others


def give_student(served: Served, student: ToyStudent, **facts: Any) -> Release:
    """Let the release that serves have a student."""
    release = served.release
    assert release is not None
    facts = student_facts(**facts)
    taught = dataclasses.replace(
        release,
        facts=release.facts | facts,
        serves=tuple(facts["serves"]),
        speaker=Speaker(student),  # type: ignore[arg-type]  # it has what a speaker needs of a student
    )
    served._release = taught
    return taught
