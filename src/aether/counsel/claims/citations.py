"""Citations in a reply: papers, addresses, authors, titles, places in a paper. Each must be a source that `knowledge` or a tool cited."""

import functools
import re
from collections.abc import Iterator

from aether.counsel.claims.facts import Ground
from aether.counsel.claims.tables import known_sources
from aether.counsel.claims.words import content_words, squeezed

_ARXIV = re.compile(r"(?<![\d.])(\d{4}\.\d{4,5})(?:v\d+)?(?!\d|\.\d)")
_ADDRESS = re.compile(
    r"https?://[^\s)\]>\"']+|\b(?:www\.|github\.com/|huggingface\.co/|arxiv\.org/|openreview\.net/|aclanthology\.org/)[^\s)\]>\"']*",
    re.IGNORECASE,
)
_DOI = re.compile(r"\b10\.\d{4,}/[^\s)\]>\"']+")
_AUTHORS = re.compile(
    r"\b(?P<all>[A-Z][a-z'-]+(?:, [A-Z][a-z'-]+)*,? (?:and|&) [A-Z][a-z'-]+),? ?\(?(?:19|20)\d\d|\b(?P<with>[A-Z][a-z'-]+) and (?:colleagues|coworkers|co-workers|coauthors|co-authors|collaborators)|"
    r"\b(?P<name>[A-Z][A-Za-z'-]+)(?:,? (?:and|&) [A-Z][A-Za-z'-]+)?,? et al\.?|\b(?P<two>[A-Z][a-z'-]+) (?:and|&) [A-Z][a-z'-]+ ?\(?(?:19|20)\d\d|\((?P<one>[A-Z][A-Za-z'-]+),? (?:19|20)\d\d[a-z]?\)|\b(?P<by>[A-Z][a-z'-]+) \((?:19|20)\d\d[a-z]?\)"
)
_LISTED = re.compile(r"[A-Z][a-z'-]+(?P<later>(?:(?:,| and|, and) [A-Z][a-z'-]+)* and [A-Z][a-z'-]+)")
"""Authors at the start of a source: "Press, Smith and Lewis, ..."."""
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_TITLE = re.compile(r"[\"“”«](?P<title>[A-Z][^\"“”«»]{12,140})[\"“”»]")
_PAPER_WORDS = re.compile(
    r"\b(?:paper|study|article|report|titled|preprint|published|journal|proceedings|in their|arxiv|blog|work)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\b(?:[Tt]able|[Ff]ig(?:ure|\.)?|[Ss]ection|[Ss]ec\.|[Aa]ppendix|[Ee]q(?:uation|\.)?|[Cc]hapter)\s*(?:\d+|[A-Z]\b)(?:\.\d+)*|§\s*\d+"
)
_VENUE = re.compile(
    r"\b(?i:according to|as (?:reported|shown|published|described) (?:by|in)|(?:reported|published|presented) (?:by|in|at)|per|cited (?:by|in)|in|(?:paper|study|report|article|post|work) (?:by|from|of)) (?i:the |an? )?(?:recent |official |internal |original )?(?P<who>(?:[A-Z][\w&.-]+ ?){1,5}(?:paper|blog|report|study|whitepaper|benchmark|model card|leaderboard|team|documentation|survey)|NeurIPS|ICML|ICLR|ACL|EMNLP|MLSys|Nature|Science|JMLR|TMLR|OSDI|SOSP)(?: (?:19|20)\d\d)?"
)


def unknown_citations(text: str, ground: Ground) -> Iterator[tuple[str, str]]:
    """(words, why) of every citation that is none of the known sources."""
    sources = (*known_sources(), *ground.sources)
    flat = _flat(sources)
    for match in _ARXIV.finditer(text):
        own = [s for s in sources if match[1] in s]
        if not own:
            yield match[0], "no such paper was read"
        elif (named := [m for m in _AUTHORS.finditer(text) if _name(m)]) and not any(
            _name(m) in " ".join(own).lower() for m in named
        ):
            yield match[0], "that paper has other authors"
        elif (title := _TITLE.search(text)) and not _same_title(title["title"], own):
            yield title[0], "that paper has another title"
    for match in [*_ADDRESS.finditer(text), *_DOI.finditer(text)]:
        if squeezed(re.sub(r"^https?://(?:www\.)?", "", match[0].rstrip(".,;"))) not in flat and not _ARXIV.search(
            match[0]
        ):
            yield match[0], "no such address was read"
    if _ARXIV.search(text):
        return
    for match in _AUTHORS.finditer(text):
        name = _name(match)
        names = re.findall(r"[a-z'-]+", re.sub(r"\b(?:and|et al)\b", " ", name))
        own = [s for s in sources if all(re.search(rf"\b{re.escape(n)}\b", s.lower()) for n in names)]
        if match["name"]:  # a paper goes by its first author
            own = [
                s
                for s in own
                if not ((listed := _LISTED.match(s)) and names[0] in re.findall(r"[a-z'-]+", listed["later"].lower()))
            ]
        if not own:
            yield match[0], "no such paper was read"
        elif (
            (year := _YEAR.search(text, match.start()))
            and year.start() - match.end() < 12
            and not any(abs(int(y) - int(year[0])) <= 1 for s in own for y in _YEAR.findall(s) or _years(s))
        ):
            yield match[0], "no paper of theirs of that year was read"
    for match in _TITLE.finditer(text):
        if _PAPER_WORDS.search(text) and not _same_title(match["title"], sources):
            yield match[0], "no paper of that title was read"
    for match in _PLACE.finditer(text):
        place = squeezed(match[0])
        near = content_words(text)
        if not any(place in squeezed(s) and len(near & content_words(s)) >= 2 for s in sources):
            yield match[0], "no source was read at that place"
    if not _ADDRESS.search(text) and not _is_known_paper(text, sources):
        yield from (
            (match[0], "name the source: an address or a paper that was read") for match in _VENUE.finditer(text)
        )


def _is_known_paper(text: str, sources: tuple[str, ...]) -> bool:
    """Whether a text names, by its first author, a paper that was read."""
    return any(
        any(s.lower().startswith(f"{_name(m)} et al") for s in sources) for m in _AUTHORS.finditer(text) if m["name"]
    )


_QUOTE = re.compile(r"[\"\u201c\u201d\u00ab](?P<words>[^\"\u201c\u201d\u00ab\u00bb]{6,400})[\"\u201c\u201d\u00bb]")
_SAID = re.compile(
    r"\b(?:says?|said|put it|told|tells?|likes? to say|wrote|writes?|in the words of|quoting|quoted?|quip\w*|claims?|according to|announced|stated?|states|argues?|explains?|concluded?|admitted|tweeted|posted)\b",
    re.IGNORECASE,
)
_SPEAKER = re.compile(
    r"(?:(?:\b[A-Z][a-z]+ [A-Z][a-z]+|\b(?i:the|its|their) (?:[\w.-]+ )?(?:maintainers?|authors?|founders?|engineers?|developers|team|lead|CEO|CTO|researchers)(?: (?:of|at|behind) [\w.-]+)?|\bA(?:n)? [A-Z]\w+ (?:group|team|lab|study))"
    r"|\b[A-Z]\w+'s (?:\w+ ){0,2}(?:evaluations?|papers?|reports?|tests?|numbers|data|blog|benchmarks?|model card|documentation)\b)"
    r"[^.;]{0,30}?\b(?:shows?|lists?|puts?|says?|said|told|announced|put it|claims?|claimed|stated?|wrote|found|argued?|showed|reported|confirmed|recommends?|dropped|admitted)\b"
)


def foreign_quotes(text: str, ground: Ground) -> Iterator[tuple[str, str]]:
    """(words, why) of what somebody is said to have said, and neither the person nor a tool said."""
    for match in _QUOTE.finditer(text):
        if len(match["words"].split()) >= 4 and _SAID.search(text) and not ground.was_said(match["words"]):
            yield match[0], "nobody said this in what was read"
    for match in _SPEAKER.finditer(text):
        if not ground.was_said(text):
            yield match[0], "name the source: an address or a paper that was read"


def without_own_quotes(text: str, ground: Ground) -> str:
    """The text without what it quotes of the person or of a tool."""
    return _QUOTE.sub(lambda m: " " * len(m[0]) if ground.was_said(m["words"]) else m[0], text)


def _name(match: re.Match[str]) -> str:
    return next((v for v in match.groupdict().values() if v), "").lower()


def _years(source: str) -> list[str]:
    """The year of an arXiv number: 2205.14135 is of 2022."""
    return [f"20{number[:2]}" for number in _ARXIV.findall(source)]


def _same_title(title: str, sources) -> bool:
    words = content_words(title)
    return bool(words) and any(len(words & content_words(s)) >= max(2, 0.7 * len(words)) for s in sources)


@functools.lru_cache(maxsize=4)
def _flat(sources: tuple[str, ...]) -> str:
    return " ".join(map(squeezed, sources))
