"""Everything that can go wrong on purpose, and the exit code that says so.

    JobError                   the family; never raised itself
    ├── UsageError        64   a bad flag or setting, or something this machine lacks
    ├── ContractError     65   what was made or read breaks its contract
    │   ├── IntegrityError     a file is not what its manifest says
    │   └── YieldError         a stage kept less than its floor
    ├── InputMissingError 66   an input was never made
    ├── TryAgainError     75   may pass by itself: a locked part, a server that is away
    │   ├── LockedError        another writer holds the part
    │   ├── SupersededError    another writer published the part meanwhile
    │   └── DiskFullError      no space left for what is being written
    └── NotWantedError    99   this run does not want this stage (shown as skipped)

Airflow retries 75 and unknown codes, never 64, 65 or 66. A message says what happened with values, what was
expected, and what to do next.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_TO_DO = 10


class JobError(Exception):
    """The family of errors that a job explains and turns into an exit code."""

    exit_code = 70


class UsageError(JobError):
    """A flag, a setting or this machine must change before the job can run."""

    exit_code = 64


class ContractError(JobError):
    """Something made or read is not as `contracts.py` says."""

    exit_code = 65


class IntegrityError(ContractError):
    """A published file differs from its manifest."""


class YieldError(ContractError):
    """A stage kept a smaller share of what it read than its floor allows."""


class InputMissingError(JobError):
    """A dataset or file that the job reads does not exist."""

    exit_code = 66


class TryAgainError(JobError):
    """The same command may succeed later."""

    exit_code = 75


class LockedError(TryAgainError):
    """Another process is writing this part."""


class SupersededError(TryAgainError):
    """Another process published this part after we began."""


class DiskFullError(TryAgainError):
    """The disk, or our share of it, is full."""


class NotWantedError(JobError):
    """The run's goal does not need this stage."""

    exit_code = 99
