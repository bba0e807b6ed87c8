"""Running `python -m jobs …` from a task: which Python, where, with which environment, and what its exit code means.

Nothing of this file knows a stage. A job is an argv list, never a shell; it stays in the task's process group, so what
kills the task kills the job.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

EXIT_DONE, EXIT_TO_DO, EXIT_NOT_WANTED = 0, 10, 99
MEANINGS = {
    64: "a flag or setting must change, or this machine lacks something; not retried",
    65: "what was made or read breaks its contract; not retried",
    66: "an input was never made; not retried",
    75: "may pass by itself; retried",
}
NOT_RETRIED = (64, 65, 66)

# What a job may see of the worker's environment. Airflow's own holds the database's address and the keys of all
# connections; jobs read PDFs of strangers.
KEPT = {
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
    *("LD_LIBRARY_PATH", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM"),
    *("JAVA_HOME", "HADOOP_CONF_DIR", "YARN_CONF_DIR", "CUDA_VISIBLE_DEVICES", "LAKE", "LAKE_MIRROR"),
    *("APP_URL", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
}
KEPT_PREFIXES = ("SPARK_ARXIV_", "SPARK_LOCAL_", "NVIDIA_", "HF_HUB_", "HF_HOME", "TRANSFORMERS_")
STORE_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")  # only for a job whose lake is on an object store

# A secret's variable -> the connection and its field that stand in where the variable is not set. A password of
# kaggle_default without a login is a token: the job takes a KAGGLE_KEY alone for one.
SECRETS: dict[str, tuple[str, str] | None] = {
    "KAGGLE_API_TOKEN": None,
    "KAGGLE_USERNAME": ("kaggle_default", "login"),
    "KAGGLE_KEY": ("kaggle_default", "password"),
    "HF_TOKEN": ("huggingface_default", "password"),
    "OPENAI_API_KEY": None,
    "SPARK_ARXIV_TEACHER_KEY": ("teacher_default", "password"),
    "SPARK_ARXIV_JUDGE_KEY": ("judge_default", "password"),
    "APP_TOKEN": ("arxiv_app_default", "password"),
}

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)")


@dataclass(frozen=True)
class Ended:
    """How a job ended. `explanation` is its last ERROR line, else its last line."""

    exit_code: int
    explanation: str
    output: str = ""


@dataclass(frozen=True)
class Place:
    """Where jobs run: the interpreter, the folder that holds `jobs/`, and the environment."""

    python: str
    home: Path
    env: dict[str, str]

    def argv(self, words: Sequence[str]) -> list[str]:
        """The command line of `python -m jobs WORDS`."""
        return [self.python, "-m", "jobs", *words]


def job_place(secrets: Iterable[str] = (), words: Sequence[str] = ()) -> Place:
    """The place by environment, else by Airflow Variables of the same names, else beside this file.

    SPARK_ARXIV_PYTHON: the jobs' Python (default: Airflow's own). SPARK_ARXIV_HOME: the folder with `jobs/`.
    `secrets`: the names of SECRETS that the job gets. `words`: its flags, for the lake that they may name.
    """
    home = Path(configured("SPARK_ARXIV_HOME") or Path(__file__).resolve().parents[1])
    env = {name: value for name, value in os.environ.items() if _is_kept(name)}
    env["PYTHONPATH"] = str(home)
    if lake := configured("LAKE"):
        env["LAKE"] = lake
    if ":/" in (words[words.index("--lake") + 1] if "--lake" in words else lake or ""):
        env |= _store_access()
    env |= {name: value for name in secrets if (value := _secret(name))}
    return Place(configured("SPARK_ARXIV_PYTHON") or sys.executable, home, env)


def configured(name: str) -> str | None:
    """A value from the environment, else from the Airflow Variable of that name, else None.

    The environment comes first: a GPU worker's Python lies elsewhere than the scheduler's.
    """
    from airflow.sdk import Variable

    return os.environ.get(name) or Variable.get(name, default=None)


def _is_kept(name: str) -> bool:
    return name in KEPT or (name.startswith(KEPT_PREFIXES) and name not in SECRETS)


def _secret(name: str) -> str | None:
    """A secret from the environment, else from its connection, else None; hidden in the log from here on."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException
    from airflow.sdk.log import mask_secret

    value = os.environ.get(name)
    if not value and (stand_in := SECRETS[name]):
        conn_id, field = stand_in
        with contextlib.suppress(AirflowNotFoundException):
            value = getattr(BaseHook.get_connection(conn_id), field)
    if value:
        mask_secret(value)
    return value


def _store_access() -> dict[str, str]:
    """What clients of object stores read of the worker's environment; what may be a secret is hidden in the log."""
    from airflow.sdk.log import mask_secret

    found = {name: value for name, value in os.environ.items() if name.startswith(STORE_PREFIXES)}
    for name, value in found.items():
        if value and any(sign in name for sign in ("KEY", "SECRET", "TOKEN")):
            mask_secret(value)
    return found


class JobProcess:
    """One run of `python -m jobs`, whose lines go into the task's log as they come."""

    def __init__(self, place: Place, log: Any) -> None:  # a logger of logging or of Airflow
        self._place = place
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def run(self, words: Sequence[str]) -> Ended:
        """Run to the end, stdout and stderr as log lines. The child dies when this call is left by an exception."""
        self._log.info("running: python -m jobs %s", " ".join(words))
        with self._start(words, stderr=subprocess.STDOUT) as process:
            try:
                assert process.stdout is not None
                explanation = self._stream(process.stdout)
            except BaseException:
                self.kill()
                raise
        return Ended(process.returncode, explanation)

    def ask(self, words: Sequence[str]) -> Ended:
        """Run to the end; stdout is the answer, stderr goes into the log when it is over."""
        with self._start(words, stderr=subprocess.PIPE) as process:
            try:
                output, errors = process.communicate()
            except BaseException:
                self.kill()
                raise
        return Ended(process.returncode, self._stream(errors.splitlines()), output)

    def kill(self, grace_s: float = 3.0) -> None:
        """SIGTERM, then SIGKILL. Airflow itself waits 5 seconds before it kills the whole group."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
        process.kill()

    def _start(self, words: Sequence[str], stderr: int) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            self._place.argv(words),
            cwd=self._place.home,
            env=self._place.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
        )
        return self._process

    def _stream(self, lines: IO[str] | Iterable[str]) -> str:
        last, last_error = "", ""
        for line in lines:
            level, message = split_line(line)
            self._log.log(level, "%s", message)
            last = message or last
            last_error = message if level >= logging.ERROR else last_error
        return last_error or last


def split_line(line: str) -> tuple[int, str]:
    """Level and text of a job's log line; the time is Airflow's to print. Any other line is INFO."""
    line = line.rstrip()
    if found := _LOG_LINE.match(line):
        return logging.getLevelNamesMapping()[found[1]], found[2]
    return logging.INFO, line


def raise_for(exit_code: int, what: str, explanation: str) -> None:
    """Turn an exit code into the task's state: 0 success, 99 skipped, 64 to 66 failed at once, else a retry."""
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

    if exit_code == EXIT_DONE:
        return
    if exit_code == EXIT_NOT_WANTED:
        raise AirflowSkipException(explanation)
    killed = f"killed by signal {-exit_code}; retried" if exit_code < 0 else "unexpected; retried"
    sentence = f"{what} ended with exit code {exit_code} ({MEANINGS.get(exit_code, killed)}). {explanation}"
    if exit_code in NOT_RETRIED:
        raise AirflowFailException(sentence)
    raise AirflowException(sentence)


def settings_words(settings: Mapping[str, object]) -> list[str]:
    """Flags of the settings that are given: {"max_papers": 5, "goal": None} -> ["--max-papers", "5"]."""
    given = ((name, value) for name, value in settings.items() if value not in (None, ""))
    return [word for name, value in given for word in (f"--{name.replace('_', '-')}", str(value))]
