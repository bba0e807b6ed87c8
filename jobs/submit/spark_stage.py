"""What spark-submit launches: `spark_stage.py STAGE flags…` is `python -m jobs STAGE flags…` inside Spark.

It lies in a folder of its own because spark-submit puts the script's folder first on sys.path: from jobs/ itself our
module names would shadow others.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when the JVM dies: an orphaned driver would go on writing."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)


if __name__ == "__main__":
    die_with_parent()
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from jobs.core.cli import main

    sys.exit(main(sys.argv[1:], in_spark=True))
