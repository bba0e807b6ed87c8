"""The front door: python -m jobs STAGE | run | plan | list | config | show | search | review | copy | prune."""

import sys

from jobs.core.cli import main

sys.exit(main())
