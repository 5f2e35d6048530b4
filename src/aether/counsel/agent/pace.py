"""How much a small server of one's own can be told in the time that a person waits: measured with one short question, then kept to.

A server that takes no tools is often a small model on a processor, which reads some tens of tokens a second. The persona, the counsel's
answer and the reply are then cut to what it reads and writes in so many seconds.
"""

from dataclasses import dataclass

READ_S, WRITE_S = 15.0, 20.0
"""What reading and writing may take, in seconds, of the person's time: assumed."""
LEAST, LEAST_TOKENS, MOST_TOKENS = 400, 48, 160
BRIEF = (
    "You are Aether, an engineer of AI models. Answer from the data below in a few plain sentences. "
    "Repeat its numbers exactly and say no others. What it does not say is unknown."
)
"""The persona in few words."""
PROBE = "Reply with one short sentence about the sea. " * 8
PROBE_TOKENS = 12
"""The short question that a server is timed with, and how long its answer may be."""


@dataclass(frozen=True)
class Pace:
    """What a server manages: characters read in `read_s` seconds of `pace_of`, tokens written in `WRITE_S`."""

    characters: int
    tokens: int


def pace_of(asked: int, first_s: float, written: int, rest_s: float, read_s: float = READ_S) -> Pace:
    """From one answer: `asked` characters read in `first_s` seconds, `written` pieces after the first in `rest_s` seconds."""
    tokens = MOST_TOKENS if written <= 0 or rest_s <= 0 else int(written / rest_s * WRITE_S)
    return Pace(max(LEAST, int(asked / max(first_s, 1e-3) * read_s)), min(MOST_TOKENS, max(LEAST_TOKENS, tokens)))
