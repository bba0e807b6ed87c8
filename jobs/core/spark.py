"""Starting Spark: which Java, which spark-submit, and a configuration that costs little on one machine.

A Spark stage called from a shell becomes spark-submit itself (exec), so a kill reaches it and its exit code is ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import os
import shutil
import socket
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.core import durable
from jobs.core.config import REPOSITORY, setting
from jobs.core.errors import UsageError

if TYPE_CHECKING:
    from pyspark import SparkContext

    from jobs.core.disk import Disk

ENTRY = REPOSITORY / "jobs" / "submit" / "spark_stage.py"
LEAST_JAVA = 17
ARCHIVES = "_submit"  # of `zip_package`, in the lake's folder; prune removes those of other programs
# The JVM moves no rows of ours: it only starts Python workers. The first compiler tier alone saves 3 to 8 CPU-seconds
# a submit (docs/log.md), in the launcher's JVM too.
CHEAP_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

# A JVM that cannot use an archive (another Java, other jars) warns on stdout and goes on without.
QUIET_ABOUT_ARCHIVE = "-Xlog:disable -Xlog:all=error:stderr"


@dataclass(frozen=True)
class SparkConfig:
    """How the Spark stages run. Decides no rows."""

    spark_master: str = setting("local[*]", "Spark master; local[*], spark://…, yarn or k8s://…")
    spark_driver_memory: str = setting("1g", "heap of the driver's JVM; rows never pass through it")

    @property
    def is_local(self) -> bool:
        """Whether driver and workers are on this machine."""
        return self.spark_master.startswith("local")


@dataclass(frozen=True)
class Submission:
    """What spark-submit is given. `env` holds only what is added to the caller's environment."""

    binary: str
    application: str
    application_args: list[str]
    name: str
    driver_memory: str
    conf: dict[str, str]
    py_files: str | None
    env: dict[str, str]


@contextlib.contextmanager
def running(disk: Disk) -> Iterator[SparkContext]:
    """A context without a SQL session, which would cost six CPU-seconds for nothing: the JVM sees no row.

    Raises UsageError if the executors of a cluster do not see the lake's folder where this machine has it.
    """
    from pyspark import SparkContext

    with SparkContext.getOrCreate() as context:
        context.setLogLevel("WARN")
        if disk.is_one_folder and not str(context.master).startswith("local"):
            _check_is_shared(context, disk.root.absolute())
        yield context


def _check_is_shared(context: SparkContext, folder: Path) -> None:
    token = uuid.uuid4().hex
    path = folder / f".shared-{token}.tmp"
    path.write_text(token)
    try:
        said = context.parallelize([str(path)], 1).map(_read_or_tell).collect()[0]
    finally:
        path.unlink()
    if said != token:
        raise UsageError(
            f"The executors of {context.master} do not see this lake, {folder.resolve()}: {said}. Expected a folder "
            "that every machine mounts at the same path, as NFS does. Or run on this machine: --spark-master local[*]"
        )


def _read_or_tell(path: str) -> str:
    """In an executor."""
    try:
        return Path(path).read_text()
    except OSError as error:
        return f"{socket.gethostname()} says {error}"


def submit_command(config: SparkConfig, args: list[str], shared: Path) -> tuple[list[str], dict[str, str]]:
    """The argv and environment that run `python -m jobs ARGS` inside Spark, in deploy mode client.

    `shared` is a folder for the archive of `jobs/` that a cluster's executors need. Raises UsageError if Java or
    pyspark is missing.
    """
    made = submission(config, args, shared)
    argv = [made.binary, "--master", config.spark_master, "--deploy-mode", "client"]
    argv += ["--name", made.name, "--driver-memory", made.driver_memory]
    if made.py_files:
        argv += ["--py-files", made.py_files]
    for name, value in made.conf.items():
        argv += ["--conf", f"{name}={value}"]
    return [*argv, made.application, *made.application_args], os.environ | made.env


def submission(config: SparkConfig, args: list[str], shared: Path) -> Submission:
    """The parts of `submit_command`, for a caller such as Airflow that builds the command line itself."""
    home = spark_home()
    java_home = find_java_home()
    log4j = (ENTRY.parent / "log4j2.properties").as_uri()
    java_options = [CHEAP_JVM, f"-Dlog4j2.configurationFile={log4j}"]
    if (archive := class_archive(java_home)).is_file():
        java_options += [f"-XX:SharedArchiveFile={archive}", QUIET_ABOUT_ARCHIVE]
    conf = {
        "spark.ui.enabled": "false",
        "spark.driver.extraJavaOptions": " ".join(java_options),
        "spark.python.worker.faulthandler.enabled": "true",
    }
    env = {
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(java_home),
        "SPARK_LAUNCHER_OPTS": CHEAP_JVM,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }
    if config.is_local:
        conf |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
        env["SPARK_LOCAL_IP"] = "127.0.0.1"
    return Submission(
        binary=str(home / "bin" / "spark-submit"),
        application=str(ENTRY),
        application_args=args,
        name=args[0],
        driver_memory=config.spark_driver_memory,
        conf=conf,
        py_files=None if config.is_local else str(zip_package(shared)),
        env=env,
    )


def spark_home() -> Path:
    """The folder of the pyspark package, which is a whole Spark. Raises UsageError."""
    spec = importlib.util.find_spec("pyspark")
    home = Path(spec.origin).parent if spec and spec.origin else None
    if home is None or not (home / "bin" / "spark-submit").is_file():
        raise UsageError(
            "pyspark with its spark-submit is not installed in this Python. "
            "Install the lock: make setup, or pip install -r requirements.txt."
        )
    return home


def find_java_home() -> Path:
    """The home of a Java of 17 or more: JAVA_HOME, the project's .java folder, then PATH. Raises UsageError."""
    found = []
    for home in _java_candidates():
        version = java_version(home)
        if version is not None and version >= LEAST_JAVA:
            return home
        found.append(f"{home} (version {version})")
    raise UsageError(
        f"Spark needs Java {LEAST_JAVA} or newer; found {', '.join(found) or 'none'}. "
        "Install it (Debian: apt-get install openjdk-17-jre-headless; else `make setup` fetches one), "
        "or set JAVA_HOME."
    )


def class_archive(java_home: Path) -> Path:
    """Where `class_archive.py` puts the archive of Spark's classes for this Java, Spark and checkout."""
    about = f"{java_home.resolve()} {java_version(java_home)} {spark_home()} {importlib.metadata.version('pyspark')}"
    return REPOSITORY / ".java" / f"spark-{hashlib.sha256(about.encode()).hexdigest()[:12]}.jsa"


def java_version(home: Path) -> int | None:
    """Major version of the Java in a folder, from its release file or from asking it; None if it does not run."""
    release = home / "release"
    if release.is_file():
        for line in release.read_text().splitlines():
            if line.startswith("JAVA_VERSION="):
                return _major(line.split('"')[1])
    try:
        asked = subprocess.run([str(home / "bin" / "java"), "-version"], capture_output=True, text=True, timeout=30)
    except OSError:
        return None
    quoted = asked.stderr.split('"')
    return _major(quoted[1]) if len(quoted) > 1 else None


def _major(version: str) -> int | None:
    first = version.split(".")
    number = first[1] if first[0] == "1" and len(first) > 1 else first[0]
    digits = "".join(char for char in number if char.isdigit())
    return int(digits) if digits else None


def _java_candidates() -> list[Path]:
    candidates = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home))
    candidates += sorted((REPOSITORY / ".java").glob("*"))
    if java := shutil.which("java"):
        candidates.append(Path(java).resolve().parents[1])
    return [home for home in candidates if (home / "bin" / "java").exists()]


def zip_package(folder: Path) -> Path:
    """jobs/ as an archive that executors import from, named by its content: submits of one program share it."""
    path = archive_folder(folder) / "jobs.zip"
    if not path.is_file():
        durable.make_dirs(path.parent)
        durable.write_atomic(path, _zipped_package())
    return path


def archive_folder(folder: Path) -> Path:
    """Where `zip_package` puts the archive of this program."""
    return folder / ARCHIVES / durable.sha256_bytes(_zipped_package())[:12]


def _zipped_package() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((REPOSITORY / "jobs").rglob("*")):
            if file.suffix in (".py", ".yaml"):  # no time of change: the same program makes the same bytes
                name = zipfile.ZipInfo(file.relative_to(REPOSITORY).as_posix())
                archive.writestr(name, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()
