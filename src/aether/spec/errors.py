"""Everything that can go wrong for a person, as one tree. What can go wrong for us is an `assert`.

AetherError
|-- InputError            exit 2   bad input: names the value, the field and the mend
|   `-- NeedsInput        exit 2   the brief is partial: carries the questions
|-- EnvironmentFault      exit 2   the machine is in the way: disk full, port in use, missing extra
|-- RunBusy               exit 2   another process works in this folder
|-- DamagedRecord         exit 2   a file on disk is not what its record says
|-- Infeasible            exit 3   the brief cannot be met: carries the refusals with their arithmetic
|-- Declined              exit 4   a request that Aether does not help with
|-- Interrupted           exit 130 Ctrl-C: everything done so far is kept
`-- UnsourcedNumber       exit 1   a report tried to say a number that has no evidence (ours, never the user's)
"""

from typing import Any, ClassVar


class AetherError(Exception):
    """A failure that a person can act on. `str(error)` is the whole sentence; `details` is the same as data."""

    exit_code: ClassVar[int] = 1
    status: ClassVar[str] = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details: dict[str, Any] = details


class InputError(AetherError):
    """Input that cannot be used."""

    exit_code = 2
    status = "bad_input"

    @classmethod
    def of(cls, field: str, value: object, mend: str) -> "InputError":
        """The one sentence of bad input: the field, the value and the mend."""
        return cls(f"{field} = {value!r}: {mend}", field=field, value=repr(value), mend=mend)


class NeedsInput(InputError):
    """The brief is partial; `details['questions']` holds what must be asked."""

    status = "needs_input"


class EnvironmentFault(AetherError):
    """The machine cannot do what was asked; the message says which command mends it."""

    exit_code = 2
    status = "environment"


class RunBusy(AetherError):
    """Another process holds this run."""

    exit_code = 2
    status = "busy"


class DamagedRecord(AetherError):
    """A stored file differs from its record."""

    exit_code = 2
    status = "damaged"


class Infeasible(AetherError):
    """The brief cannot be met; `details['refusals']` carries the arithmetic and the nearest feasible brief."""

    exit_code = 3
    status = "infeasible"


class Declined(AetherError):
    """Aether does not help with this; `details` carries the reason and an allowed alternative."""

    exit_code = 4
    status = "declined"


class Interrupted(AetherError):
    """The person stopped the work; what was recorded stays, and `aether resume` goes on from there."""

    exit_code = 130
    status = "interrupted"


class UnsourcedNumber(AetherError):
    """A number without evidence reached a report."""

    status = "unsourced"


TARGET_MISSED_EXIT_CODE = 5
"""The exit code of a build that finished and missed a target: a result, not an error."""
