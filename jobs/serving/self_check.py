"""Opens one release, asks it its own question and prints the answer. Run as a child by `deploying.try_in_child`."""

from __future__ import annotations

import sys
from pathlib import Path

from jobs.core.errors import EXIT_DONE, JobError
from jobs.core.lake import Lake
from jobs.serving.release import SearcherOpener, open_release
from jobs.serving.speaker import SpeakerOpener
from jobs.serving.trial import smoke_answer


def main(lake_root: str, key: str, device: str) -> int:
    """Print the answer; the exit code is 0, or that of the error."""
    try:
        release = open_release(Lake.open(Path(lake_root)), key, SearcherOpener(), SpeakerOpener(device))
        answer = smoke_answer(release)
    except JobError as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return error.exit_code
    sys.stdout.write(answer.text + "\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
