"""The front door: python -m jobs STAGE | run | plan | list | config | show | search | review | copy | prune."""

import os
import sys

from jobs.core.cli import main

# OpenMP's threads (torch, FAISS) spin while they wait for each other. Beside other work, as under Airflow on two cores,
# a small product of matrices then takes up to twenty times its CPU (docs/log.md); asleep they cost microseconds.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

sys.exit(main())
