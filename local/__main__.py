"""`python -m local demo|start|stop|status|backfill [NAME …]`: NAMEs are Make variables that were given."""

from __future__ import annotations

import logging
import os
import sys

from jobs.core.errors import JobError, UsageError
from local import commands
from local.layout import default_layout
from local.variables import Given

COMMANDS = {
    "demo": commands.demo,
    "start": commands.start,
    "stop": commands.stop,
    "status": commands.status,
    "backfill": commands.backfill,
}


def main(argv: list[str]) -> int:
    """Run a command; its exit code."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("local")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    try:
        if not argv or argv[0] not in COMMANDS:
            raise UsageError(f"Expected one of: {', '.join(COMMANDS)}.")
        return COMMANDS[argv[0]](default_layout(), Given.of(argv[1:], os.environ))
    except JobError as error:
        log.error("%s", error)
        return error.exit_code
    except KeyboardInterrupt:
        log.info("no longer watching; everything goes on (make status, make stop)")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
