"""What tests of the running stack share: looking at runs and lakes, waiting, asking the chat."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import psutil

from jobs.core.config import REPOSITORY
from jobs.core.contracts import DATASETS
from jobs.core.lake import Lake
from local import processes, running
from local.layout import Layout
from local.rest import Airflow

DAG_ID = running.DAG_ID
NOTES = ("sample/2401001", "sample/2401005", "sample/2401002", "sample/2402001", "sample/2403001")


def states(airflow: Airflow, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in airflow.tasks(DAG_ID, run_id)}


def parts(lake: Path, dataset: str) -> dict[str, list[str]]:
    """part -> keys that were ever published; a second one would be work done twice."""
    return {
        part.name: sorted(path.name for path in part.iterdir() if (path / "_MANIFEST.json").is_file())
        for part in sorted((lake / dataset).iterdir())
        if part.is_dir()
    }


def keys(lake: Path) -> dict[str, str]:
    """dataset/part -> the key that is current."""
    opened = Lake.open(lake)
    return {f"{name}/{part}": str(opened.current_key(name, part)) for name in DATASETS for part in opened.parts(name)}


def put_notes(corpus: Path, ids: Sequence[str]) -> None:
    """Rows and PDFs of some notes of the sample."""
    corpus.mkdir(exist_ok=True)
    rows = (REPOSITORY / "sample" / "metadata.jsonl").read_text().splitlines()
    (corpus / "rows.jsonl").write_text("".join(f"{row}\n" for row in rows if json.loads(row)["id"] in ids))
    for paper_id in ids:
        for pdf in (REPOSITORY / "sample" / "pdf").glob(f"{paper_id.replace('/', '_')}v*.pdf"):
            shutil.copy(pdf, corpus)


def cited(layout: Layout, question: str) -> set[str]:
    """Papers that the chat app's answer cites."""
    body = {"model": "quoted", "messages": [{"role": "user", "content": question}]}
    url = f"{running.addresses(layout)['chat']}/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        told = json.load(answer)
    return {one["paper_id"] for one in told["citations"]} if told["supported"] else set()


def wait_for_stage(lake: Path, stage: str, least: int = 2) -> list[psutil.Process]:
    """The processes of a stage over a lake: with `least` 2, as soon as its JVM has started a Python."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = [
            process
            for process in psutil.process_iter(["cmdline"])
            if {stage, str(lake)} <= set(process.info["cmdline"] or []) and "--check" not in process.info["cmdline"]
        ]
        if any("pyspark" not in " ".join(process.info["cmdline"]) for process in found) and len(found) >= least:
            return [*found, *(child for process in found for child in children(process))]
        time.sleep(0.05)
    raise AssertionError(f"{stage} never ran over {lake}")


def children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def wait_for_state(airflow: Airflow, run_id: str, task_id: str, state: str) -> None:
    deadline = time.monotonic() + 60
    while (found := states(airflow, run_id).get(task_id)) != state:
        assert time.monotonic() < deadline, f"{task_id} is {found}, expected {state}"
        time.sleep(0.5)


def family(layout: Layout) -> list[psutil.Process]:
    """Every process of the stack."""
    started = [found for name in (*running.AIRFLOW_PARTS, running.APP) if (found := processes.running(layout, name))]
    pids = [found.pid for found in started] + [pid for pid in [running.postgres_pid(layout)] if pid]
    leaders = [psutil.Process(pid) for pid in pids]
    return [*leaders, *(child for leader in leaders for child in leader.children(recursive=True))]
