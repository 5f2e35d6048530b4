"""What stands around a number in its sentence: the models, benchmarks and options that its part of it names, its subject, what it counts."""

import itertools
import re
from dataclasses import dataclass, replace

from aether.counsel.claims.conditions import Condition, conditions_in
from aether.counsel.claims.facts import Ground, noun_after
from aether.counsel.claims.labels import label_words
from aether.counsel.claims.names import benchmarks_in, models_in, without_names
from aether.counsel.claims.numbers import Said
from aether.counsel.claims.subjects import Subject, by_unit, percentiles_in, subject_of, traits_of
from aether.counsel.claims.wording import HEDGED
from aether.counsel.claims.words import content_words

RESULT = re.compile(
    r"\b(?:measured|achiev\w*|scor(?:e|es|ed|ing)|reach(?:es|ed)?|attain\w*|obtain\w*|benchmark(?:ed|s)?|observ\w*|deliver(?:s|ed)?|hit(?:s|ting)?|clock\w*|record(?:s|ed)|report(?:s|ed)|"
    r"our (?:tests?|runs?|experiments?|results?)|result(?:s|ed)?|got|gets|came (?:in|out)|yield(?:s|ed)?|improv\w*|outperform\w*|gain(?:s|ed)?|published|typically|usually|generally|normally|commonly|on average|tends? to|tested|evaluat(?:es|ed))\b",
    re.IGNORECASE,
)
OF_THE_PERSON = re.compile(
    r"\b(?:your|you|asked|bound|target|limit|budget|request(?:ed)?|brief|want(?:ed)?|need(?:ed)?|at the load|required?|requirement|allow(?:s|ed)?|given|under a load|constraint|slo|ceiling|cap)\b",
    re.IGNORECASE,
)


OF_INTERVAL = re.compile(
    r"\b(?:(?:to|from|between) (?:about |roughly )?[\d$]|(?:intervals?|range|low|lower|high|higher|upper|ends?|worst|best|bad|good|pessimistic|optimistic|up to|could|may|might|at (?:least|most)|keeps?|relax\w*|wide|uncertain\w*)\b)",
    re.IGNORECASE,
)
"""Words with which an end of an interval is said as one."""
FORMATS = frozenset(
    {
        "int4",
        "int8",
        "fp8",
        "bf16",
        "fp16",
        "nvfp4",
        "mxfp4",
        "nf4",
        "awq",
        "gptq",
        "vllm",
        "sglang",
        "trtllm",
        "lmdeploy",
    }
)
SETTINGS = frozenset(["rank", "alpha", "dropout", "decay", "clipping", "warmup"])
_COUNTED = frozenset(
    [
        "rank",
        "layer",
        "head",
        "step",
        "epoch",
        "point",
        "seed",
        "dropout",
        "score",
        "expert",
        "alpha",
        "decay",
        "clipping",
        "warmup",
    ]
)
"""What a bare number is of only where its source says so."""
_PRAISE = re.compile(
    r"\b(?:better|gain(?:s|ed)?|improv\w+|more accurate|ahead)\b(?!.*\b(?:los[st]\w*|lose|worse)\b)", re.IGNORECASE
)
_OTHER = re.compile(
    r"\b(?:from|instead of|rather than|than|against|versus|vs\.?|compared (?:with|to)|down from|up from)\s+(?:the |its )?(?:base\w*'?s? )?(?:about |roughly )?\$?$",
    re.IGNORECASE,
)
"""What follows is of the other one."""


@dataclass(frozen=True)
class Around:
    """What stands around a number: words, models, benchmarks, its subject, and whether the sentence tells of a result."""

    words: frozenset[str]
    names: frozenset[str]
    benchmarks: frozenset[str]
    subject: Subject
    results: bool
    noun: str
    in_brackets: bool = False
    of_interval: bool = False
    counted: frozenset[str] = frozenset()
    other: bool = False
    """The number is of what the sentence compares with."""
    pair: frozenset[str] | None = None
    """The number is one of "(358 vs 176 ms)": the percentiles that the sentence names, one of which it is of."""
    each: bool = False
    """Of one device."""
    wished: bool = False
    """The sentence says that the person asked for just this."""
    direction: int = 0
    """1 where the sentence says that something rose, -1 where it fell."""
    total: bool = False
    bits: frozenset[str] = frozenset()
    """The width of the numbers that is named."""
    praised: bool = False
    """The sentence says that something is better or more."""
    of_wish: bool = False
    """The sentence sets it beside what the person asked for, and names no metric."""
    conditions: frozenset[Condition] = frozenset()
    """The load, pace and size that its part of the sentence names."""
    mentioned: frozenset[str] = frozenset()
    """Traits of options that the sentence names after the number."""
    options: tuple[frozenset[str], ...] = ()
    """Traits of each of several options that the sentence sets side by side by their numbers."""
    labels: frozenset[str] = frozenset()
    """Words that may say of which of several like numbers it is."""


def around_of(number: Said, text: str, context: str, ground: Ground) -> Around:
    """Reads the surroundings of one number."""
    end = number.start + len(number.words)
    part = _WITHOUT_COMPARED.sub(" ", part_of(text, number))
    about = f"{context} {text}"
    subject = subject_of(text, number.start, end, context)
    if _NATS.match(part.partition(number.words)[2]):
        subject = Subject(None, None, subject.traits)  # a loss, whatever else is named
    else:
        subject = by_unit(number, subject)
    of_another = _OTHER.search(text[: number.start]) is not None
    if (listed := _nth_percentile(text, number.start)) is not None:
        subject = replace(subject, percentile=listed)
    own, every = traits_of(part) | options_in(part, ground), subject.traits | options_in(about, ground)
    if right_after := _RIGHT_AFTER.match(text[end:]):
        own = traits_of(right_after[1]) or own  # "from 38.3 % in bf16 to 53.5 % with fp8"
    if of_another and not right_after:
        own = every = frozenset()  # "from 16.1 GB to 9.08 GB": the first is of what was before
    elif not own and (before := traits_of(text[: number.start])):
        every = before | traits_of(context) | options_in(about, ground)  # what comes later is of what is compared with
    pair = _is_of_pair(text, number.start, end)
    if pair:  # "(358 vs 176 ms)": each is of one of two things
        subject, own, every = Subject(subject.family), frozenset(), frozenset()
    subject = replace(subject, traits=own or every, several=len((own or every) & FORMATS) > 1)
    brackets = text[: number.start].count("(") > text[: number.start].count(")")
    near = (
        f"{' '.join(text[: number.start].split()[-2:])} {' '.join(re.split(r'[,;(]| and ', text[end:])[0].split()[:1])}"
    )
    return Around(
        words=content_words(about) | _UNIT_WORDS.get(number.unit, frozenset()) | _of_nats(text, end),
        names=models_in(part) or models_in(text),
        benchmarks=_benchmarks(number, text, context, part),
        subject=subject,
        results=RESULT.search(text) is not None
        and not (OF_THE_PERSON.search(text) or HEDGED.search(text) or _STAYS_BELOW.search(text[: number.start])),
        noun=noun_after(text, number),
        in_brackets=brackets,
        of_interval=brackets or OF_INTERVAL.search(about) is not None,
        counted=content_words(near) & _COUNTED,
        other=of_another,
        pair=percentiles_in(f"{context} {text}") if pair else None,
        each=_EACH.search(part) is not None or ("|" not in context and _EACH.search(context) is not None),
        bits=frozenset(m[1] for m in _BITS.finditer(part)) if not of_another else frozenset(),
        wished=_WISHED.search(text[: number.start]) is not None,
        direction=direction(part),
        total=_TOTAL.search(text[max(0, number.start - 10) : end + 10]) is not None,
        praised=_PRAISE.search(text) is not None,
        conditions=_conditions(number, part),
        mentioned=traits_of(text[end:]) | options_in(text[end:], ground),
        options=_set_side_by_side(text, ground),
        of_wish=subject.family is None and _BESIDE.search(text) is not None,
        labels=frozenset() if of_another or pair else label_words(f"{context} {part.replace(number.words, ' ', 1)}"),
    )


def _conditions(number: Said, part: str) -> frozenset[Condition]:
    """Those that bear on a number of its kind: a pace on a ratio, a load or a size on what has no unit of its own."""
    if _SUM.search(part):
        return frozenset()
    found = conditions_in(part.replace(number.words, " ", 1))
    keys = {"traffic"} if number.unit in ("s", "token/s") else set()
    if number.unit in ("ratio", "fraction", "point", "count"):
        keys |= {"load", "size", "length", "tokens"} | ({"pace"} if number.ratio else set())
    return frozenset(one for one in found if one[0] in keys)


_SUM = re.compile(r"[×=÷*]|\s/\s")


def _benchmarks(number: Said, text: str, context: str, part: str) -> frozenset[str]:
    found = benchmarks_in(f"{context} {part}")
    if not found and not re.search(r"\d", part.replace(number.words, "")):
        found = benchmarks_in(text)
    return found - {"perplexity"} if _NATS.match(text, number.start + len(number.words)) else found


def _of_nats(text: str, end: int) -> frozenset[str]:
    return frozenset({"loss"}) if _NATS.match(text, end) else frozenset()


_PAIR = re.compile(r"\(\s*(?:about )?\$?\d[^()]{0,16}\b(?:vs\.?|versus|against)\s+\$?\d[^()]{0,16}\)")


_LISTED = re.compile(r"\bp\d\d(?:\s*(?:/|,|and|, and)\s*p\d\d)+\b", re.IGNORECASE)
_VALUES = re.compile(r"\d[\d.]*(?:\s*(?:/|,|and|, and)\s*\d[\d.]*)+")


def _nth_percentile(text: str, start: int) -> str | None:
    """Of "p50/p95/p99 = 176/291/358 ms": the percentile at the same place as the number."""
    for names in _LISTED.finditer(text):
        values = _VALUES.search(text, names.end())
        if values and values.start() <= start < values.end():
            asked = re.findall(r"\d\d", names[0])
            at = len(re.findall(r"\d[\d.]*", text[values.start() : start]))
            return asked[at] if at < len(asked) else None
    return None


def _is_of_pair(text: str, start: int, end: int) -> bool:
    return any(m.start() <= start and end <= m.end() for m in _PAIR.finditer(text))


_RIGHT_AFTER = re.compile(r"\s+(?:in|with|for|under|at) ((?:int|fp|bf|nf|nvfp|mxfp)\d{1,2})\b", re.IGNORECASE)
_STAYS_BELOW = re.compile(
    r"\d.*\b(?:stays?|keeps?|is|are|lies|remains?) (?:well |safely |just |still )?(?:below|under|within|inside) (?:the )?\$?$",
    re.IGNORECASE,
)
""" "321 ms, which stays below 600 ms": the second is what was asked for."""
_WISHED = re.compile(
    r"\b(?:you (?:asked|wanted|want|said|set)(?: for)?|your (?:\w+ )?(?:bound|target|bar|limit|budget|goal|ceiling|slo|tolerance|threshold|deadline|maximum|allowance)(?: (?:of|is|was|at))?)(?: (?:a|an|at least|at most|about|under|of|the))*\s*\$?$",
    re.IGNORECASE,
)
_TOTAL = re.compile(r"\b(?:in total|altogether|in all|overall|total of)\b", re.IGNORECASE)
_BESIDE = re.compile(
    r"\b(?:your|you (?:asked|allowed|set|wanted|gave|have)|the (?:limit|target|bound|budget))\b", re.IGNORECASE
)
_ROSE = re.compile(
    r"\b(?:rose|rises?|risen|(?:went|goes|gone|going|is|are) up|up by|gain(?:s|ed)?|improv(?:ed|es)|better|increased|climb(?:s|ed))\b",
    re.IGNORECASE,
)
_FELL = re.compile(
    r"\b(?:fell|falls?|fallen|(?:went|goes|gone|going|is|are) down|down by|drop(?:s|ped)|lost|loses?|worse|decreased|declined|degraded|sank|regressed)\b",
    re.IGNORECASE,
)


def direction(part: str) -> int:
    rose, fell = _ROSE.search(part), _FELL.search(part)
    return 0 if bool(rose) == bool(fell) else 1 if rose else -1


_UNIT_WORDS = {"token/s": frozenset({"throughput"}), "s": frozenset({"time"}), "USD": frozenset({"cost"})}
_WITHOUT_COMPARED = re.compile(
    r"(?:compared (?:with|to)|unlike|instead of|relative to|going from|moving from|switching from) (?:the )?[\w.-]+(?: \w+)?,?",
    re.IGNORECASE,
)
_EACH = re.compile(r"(?:\b(?:per|a|each|every)|/) ?(?:device|gpu|card|accelerator)\b", re.IGNORECASE)
_BITS = re.compile(r"\b(4|8|16|four|eight|sixteen)[- ]?bits?\b", re.IGNORECASE)


_NATS = re.compile(r"\s*nats?\b")


def options_in(text: str, ground: Ground) -> frozenset[str]:
    """Traits of the options that a text names by number."""
    found = (
        ground.options.get(f"option{m[1]}", frozenset()) for m in re.finditer(r"\b(?:[Oo]ption|[Rr]ow) (\d+)\b", text)
    )
    return frozenset().union(*found)


def _set_side_by_side(text: str, ground: Ground) -> tuple[frozenset[str], ...]:
    named = {m[1] for m in re.finditer(r"\b(?:[Oo]ption|[Rr]ow) (\d+)\b", text)}
    return tuple(ground.options.get(f"option{n}", frozenset()) for n in named) if len(named) > 1 else ()


def part_of(text: str, number: Said) -> str:
    """The part of a sentence that speaks of this number: up to the parts, between commas and "and", that have numbers of their own."""
    cuts = [
        0,
        *(
            m.end()
            for m in re.finditer(
                r"[,;:]\s|\s(?=\()|\)\s|\s(?:and|while|but|against|versus|vs\.?|than|instead of|whereas|compared (?:to|with))\s",
                text,
            )
        ),
        len(text),
    ]
    parts = list(itertools.pairwise(cuts))
    at = next((i for i, (start, end) in enumerate(parts) if start <= number.start < end), 0)
    low = high = at
    while low > 0 and not re.search(r"\d", without_names(text[slice(*parts[low - 1])])):
        low -= 1
    while high + 1 < len(parts) and not re.search(r"\d", without_names(text[slice(*parts[high + 1])])):
        high += 1
    return text[parts[low][0] : parts[high][1]]
