"""Spark's classes as one file that a JVM maps, instead of reading and checking them out of 300 jars at every start.

Java calls it a dynamic archive for class data sharing (JEP 350). `make setup` makes it once; a JVM that finds another
Java or other jars than it was made with goes on without it, so nothing but time depends on it.
Run: python -m jobs.core.class_archive
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from jobs.core import durable
from jobs.core.errors import EXIT_DONE, ContractError, JobError
from jobs.core.spark import CHEAP_JVM, ENTRY, SparkConfig, class_archive, find_java_home, submission

WARM_UP = ENTRY.with_name("warm_up.py")
TIMEOUT_S = 300  # 9 s on 2 cores


def make_archive(path: Path) -> None:
    """Let a Spark that does nothing write its classes to `path`. Raises ContractError with what Spark said."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    made = submission(SparkConfig(), [WARM_UP.stem], path.parent)
    conf = made.conf | {"spark.driver.extraJavaOptions": f"{CHEAP_JVM} -XX:ArchiveClassesAtExit={temporary}"}
    words = [word for name, value in conf.items() for word in ("--conf", f"{name}={value}")]
    argv = [made.binary, "--master", "local[2]", *words, str(WARM_UP)]
    try:
        ended = subprocess.run(
            argv, env=os.environ | made.env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if ended.returncode or not temporary.is_file():
            raise ContractError(
                f"Spark made no archive of its classes (exit {ended.returncode}): {ended.stderr[-500:]}"
            )
        durable.move_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def main() -> int:
    """Make the archive if it is not there. Without it everything works, a second and a half slower a Spark stage."""
    try:
        path = class_archive(find_java_home())
        if not path.is_file():
            make_archive(path)
    except (JobError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"setup: Spark will start slower than it could: {error}\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
