"""Accelerators and machines that a text names, with how many: "8xH100", "two 4090s", "4 nodes of 8 A100 80GB", "a DGX H200", "v5e-16"."""

import functools
import re
from dataclasses import dataclass

from aether.counsel.reading.names import one_of, possible, which
from aether.counsel.reading.numbers import spelled
from aether.counsel.reading.patterns import Lazy
from aether.counsel.reading.text import Span, Text, negated
from aether.knowledge.library import device, devices
from aether.knowledge.tables import table
from aether.spec.errors import InputError

_COUNT = r"(?P<count>\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?k|\d+|one|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?|fifteen|eleven|a hundred|a thousand|a couple(?: of)?|half a dozen|a dozen|a pair of|a single|single|an?)"
_BEFORE = Lazy(
    rf"(?:(?<![\w.,$€£])|(?<=\dx)){_COUNT}[^\S\n]*(?:x|\*|\+|times|pcs?|pieces?|nos?\.?|numbers?|units?|cards?|-?\s?way)?[^\S\n]*(?:of\s+)?(?:(?:the|our|my|these|those)\s+)?(?:(?:nvidia|amd|google|intel|aws|old|older|brand|shiny|new|newer|used|second-?hand|rented|spare|free|cloud|on-?prem|reserved|spot|idle|shared|dedicated|available|more|extra|local|lone|humble|measly|single|whole|entire|full|consumer|datacent(?:er|re)|[a-z]+-(?:tier|memory|owned|hosted|grade))\s+){{0,2}}(?:nvidia|amd|google|intel|aws)?\s*(?:(?:(?<=\s)\d+\s*gb\s+)?(?:gpus?|cards?)\s*(?:of\s*type)?\s*\(?\s*|\(\s*)?$"
)
_CARDS = r"(?:gpus?|cards?|accelerators?|chips?|devices)"
_PIECES = r"(?:pcs|pieces?|units?|nos|qty|quantity|count|number)\.?"
_AFTER = Lazy(
    rf"\s*(?:{_CARDS}|s)?\s*[(\[]?\s*(?:x|\*|times)\s*(?P<count>\d+)(?!\w|\.\d)\s*[)\]]?|-(?P<slice>\d+)(?!\w|\.\d)|s?\s*\((?:we|i|they)?\s*(?:have|got|own|rent)\s*(?P<held>\d+)(?!\w|\.\d)\s*(?:of (?:them|those))?\)"
    rf"|\s*{_CARDS}?\s*[,:(\[-]?\s*{_PIECES}\s*(?:of|[:=])?\s*(?P<labelled>\d+)(?!\w|\.\d)\s*[)\]]?"
    rf"|\s*{_CARDS}?\s*(?:[:(\[]|\s-)\s*(?P<told>\d+)\s*(?:(?:{_PIECES}|{_CARDS})\s*[)\]]?|[)\]]|(?=\s*(?:[,;\n]|\.\s|$)))"
)
"""After a device: "x4", "(x4)", "times 4", "qty 4", ": 4", "[4]", "- 4 pieces"."""
_TIMES = Lazy(r"\s*(?:instances?|vms?|nodes?)?\s*(?:x|\*)\s*(?P<count>\d{1,3})(?!\w|\.\d)")
_NODES = Lazy(
    rf"(?<![\w.]){_COUNT}\s*(?:x\s*)?(?:nodes?|servers?|hosts?|boxes|machines?)\s*(?:of|with|,|x|each with|having|containing|\()?\s*$"
)
_NODE_WORD = Lazy(r"\s*(?:gpu\s+)?(?:nodes?|servers?|hosts?|boxes|machines?)\b")
_OUTER = Lazy(rf"(?<![\w.]){_COUNT}\s+$")
_PER_NODE = Lazy(r"\s*(?:gpus?|cards?)?\s*(?:per|a|each|/)\s*(?:node|server|host|box|machine)s?\b")
_NODES_AFTER = Lazy(
    rf"\s*(?:gpus?|cards?)?\s*(?:(?:per|a|each|/)\s*(?:node|server|host|box|machine))?\s*[,x]?\s*(?:on|across|over|in|x|times)?\s*{_COUNT}\s*(?:nodes?|servers?|hosts?|boxes|machines?)\b"
)
_HOLDS = Lazy(
    rf"\s*(?:gpu\s+)?(?:nodes?|servers?|hosts?|box(?:es)?|machines?|instances?|systems?)\s+(?:with|of|having|holding|containing)\s+{_COUNT}\s*(?:gpus?|cards?|accelerators?|devices|chips)\b"
)
"""After a device: "a Gaudi 3 server with 8 cards"."""
_LARGEST_NODE = 16
"""Devices of one machine at most: a larger number on record is of an NVLink domain or a torus (assumed)."""
_OF_TIME = Lazy(r"[\s-]*(?:gpu[\s-]*)?(?:hours?|hrs?|days?|weeks?|months?|years?)\b")
"""After a device: "500 H100-days" are no 500 devices."""
_EACH = Lazy(r"\b(?:each|every)\s+$")
_EITHER = Lazy(rf"(?<![\w.,]){_COUNT}\s*(?:or|to|-)\s*(?:maybe|perhaps|possibly|even)?\s*$")
_GPUS = Lazy(
    rf"(?<![\w.,]){_COUNT}[\s-]*(?:gpus?|cards?|accelerators?|devices|chips|of (?:them|those|these))\b(?![\s-]*(?:hours?|hrs?|h|days?|weeks?|months?|memory|util)\b)"
)
_COUNT_LABEL = Lazy(
    r"(?:\b|_)(?:count|num|number of gpus|n?_?gpus|devices|num_devices|cards|world_size)\s*[:=]\s*(?P<count>\d{1,6})\b"
)
_MEMORY = Lazy(r"[\s_-]*\(?(?:sxm\d?|pcie|nvl)?[\s_-]*(?P<gb>\d{2,3})\s*(?:gb|gib|g)\b\)?")
_BARE_MEMORY = Lazy(r"[-_](?:sxm\d?|pcie)?[-_]?(?P<gb>40|80)(?=s?(?!\w|\.\d))")
"""After a device: "A100-40"."""
_FORM = Lazy(r"[\s_-]*\(?(?P<form>sxm\d?|pcie|nvl)\b\)?")
_EACH_HOLDS = Lazy(
    r"s?(?:\s+(?:gpus?|cards?))?\s*[,(]?\s*(?:with\s+|of\s+)?(?P<gb>\d{2,3})\s*(?:gb|gib|g)\s*(?:each|per (?:card|gpu)|apiece|vram|memory|version|variant|model|ones|kind)\b\)?"
)
"""After a device: "A100s, 40 GB each"."""
_PLURAL = Lazy(r"(?:'?s|es)?(?![\w])(?:\s+(?:gpus?|cards?|accelerators?|chips?|instances?))?")


@dataclass(frozen=True)
class Found:
    """One device that was named. `count` is None where none was said."""

    name: str
    count: int | None
    span: Span
    each: int = 1
    """Devices of one, where a whole machine was named ("p5.48xlarge")."""


@functools.cache
def _spellings() -> dict[str, str]:
    found: dict[str, str] = {}
    for known in devices().values():
        for words in (known.name, *known.aliases):
            found.setdefault(words.lower(), known.name)
            if short := re.fullmatch(r"(?:geforce-)?rtx-(\d{4})(-ti)?", words.lower()):
                found.setdefault(short[1] + (short[2] or ""), known.name)
            if tpu := re.fullmatch(r"tpu-?(v\d[a-z]?)", words.lower()):
                found.setdefault(tpu[1], known.name)
            if amd := re.fullmatch(r"(mi\d{3})x", words.lower()):
                found.setdefault(amd[1], known.name)
    return {words: name for words, name in found.items() if len(words) > 1}


@functools.cache
def _machines() -> dict[str, tuple[str, int]]:
    rows = table("reading", "machines.toml")["machine"]
    return {words: (row["device"], row["devices"]) for row in rows for words in row["spellings"]}


def find_hardware(text: Text) -> list[Found]:
    """Every device of a text, in order; those that are negated are taken and left out."""
    _mend_letters(text)
    found = [*_named_machines(text), *_named_devices(text)]
    found.sort(key=lambda f: f.span.start)
    if (
        found
        and all(one.count is None for one in found)
        and (count := _loose_count(text, len({one.name for one in found}) > 1)) is not None
    ):
        found = [Found(one.name, count[0], one.span) for one in found]
    return found


def _mend_letters(text: Text) -> None:
    """ "H1OO" has letters where digits belong."""

    def fix(match: re.Match[str]) -> str:
        return (
            match[0].replace("o", "0").replace("l", "1") if match[0][0] != "l" else "l" + match[0][1:].replace("o", "0")
        )

    text.plain = re.sub(
        r"(?<![\w])(?:[habl]\d?[\do]{2}s?|[habl][\dlo]{3})(?![\w])",
        lambda m: fix(m) if re.search(r"\d", m[0]) and "o" in m[0] else m[0],
        text.plain,
    )


def _named_machines(text: Text) -> list[Found]:
    found = []
    for words, (name, count) in sorted(_machines().items(), key=lambda item: -len(item[0])):
        for match in filter(lambda found: text.is_free(Span(*found.span())), text.phrases(words)):
            end = match.end()
            if plural := re.compile(r"e?s\b").match(text.plain, end):
                end = plural.end()
            start, times = match.start(), 1
            if name != "this-machine" and (before := _BEFORE.search(text.plain, 0, start)):
                start, times = before.start(), _counted(before["count"]) or 1
                count = 1 if "way" in before[0] else count  # "a 4-way H100 node"
            elif name != "this-machine" and (after := _TIMES.match(text.plain, end)):
                end, times = after.end(), int(after["count"])
            span = Span(start, end)
            text.take(span)
            if not negated(text, span.start) or name == "this-machine":
                found.append(Found(name, None if name == "this-machine" else count * times, span, max(1, count)))
    return found


def _named_devices(text: Text) -> list[Found]:
    names, found = possible(_spellings(), text.plain), []
    if not names:
        return found
    pattern = one_of(names)
    loose = re.compile(pattern.pattern.rsplit("(?!", 1)[0] + r"(?![a-rt-z\d]|\.\d|s[a-z\d])")
    for match in text.search(loose):
        name, end = _spellings()[which(match, names)], match.end()
        name, end = _variant(text, name, end)
        if plural := _PLURAL.match(text.plain, end):
            end = plural.end()
        start, count = match.start(), None
        if maker := re.search(r"(?:nvidia|amd|google|intel)\s*$", text.plain[:start]):
            start = maker.start()
        if (
            name in ("L4", "T4", "A10", "L40", "B200")
            and re.fullmatch(r"[a-z]\d", match[0])
            and not _speaks_of_devices(text, start, text.words(Span(*match.span())))
        ):
            continue
        start, end, count = _count_around(text, start, end, name)
        span = Span(start, end)
        text.take(span)
        if not negated(text, start):
            found.append(Found(name, count or _mine(text, span), span))
    return found


def _mine(text: Text, span: Span) -> int | None:
    """ "my 3090", "a 24GB 4090": one of them."""
    one = re.search(r"\b(?:my|our|an?|one|a single|the single)\s+(?:\d+\s*(?:gb|gib|g)\s+)?$", text.plain[: span.start])
    if one and one[0].startswith("our") and _GPUS.search(text.plain):
        return None  # "our 3090 box (there are 2 of them)"
    return 1 if one and not text.plain[: span.end].endswith("0s") else None


def _speaks_of_devices(text: Text, at: int, words: str) -> bool:
    """A name of two characters alone may be anything, in small letters or as the number of a part."""
    if words[0].isupper() and not re.search(
        r"\b(?:section|table|level|layer|theorem|figure|appendix|part)\s+$", text.plain[:at]
    ):
        return True
    return bool(
        re.search(r"\b(?:an?|one|two|three|four|six|eight|compare)\s+$", text.plain[:at])
        or re.search(
            r"gpu|card|\bon\b|instance|nvidia|\d\s*x?\s*$|\bx\s*$|accelerator|\bor\b|single|an?\s$",
            text.plain[max(0, at - 30) : at + 30],
        )
    )


def _variant(text: Text, name: str, end: int) -> tuple[str, int]:
    """The device with the memory or the socket that follows its name."""
    for pattern, key in ((_MEMORY, "gb"), (_BARE_MEMORY, "gb"), (_EACH_HOLDS, "gb"), (_FORM, "form")):
        match = pattern.match(text.plain, end)
        if match is None or not text.is_free(Span(end, match.end())):
            continue
        family = re.match(r"[A-Z]+-?\d+[A-Z]*", name)
        said = re.sub(r"(\d)\s*(?:g|gib|gb)\b", r"\1gb", match[0])
        said = f"{match['gb']}gb" if pattern in (_EACH_HOLDS, _BARE_MEMORY) else said
        words = " ".join(re.sub(r"[()]", " ", f"{family[0] if family else name} {said}").split())
        try:
            return device(words).name, match.end()
        except InputError:
            if pattern is _BARE_MEMORY:
                continue
            own = re.search(r"(\d{2,3})GB", name)
            if key == "gb" and own and abs(int(own[1]) - int(match["gb"])) <= 2:
                return name, match.end()
    return name, end


def _in_nodes(many: int, word: str, name: str) -> int:
    """Devices in so many nodes of which nothing more is said: a node holds what is on record, one server maybe a single device."""
    held = device(name)
    each = 1 if "devices_per_node" in held.unread else held.devices_per_node or 1
    whole = "node" in word or (many > 1 and "machine" not in word)
    return many * each if whole and each <= _LARGEST_NODE else many


def _is_of_nodes(text: Text, before: str, word: re.Match[str]) -> bool:
    """Whether a number before a device counts the nodes after it: "two H200 nodes", and neither "8xH200 nodes" nor "nodes with 8 GPUs"."""
    return word[0].endswith("nodes") and not re.search(r"[x*]", before) and not _HOLDS.match(text.plain, word.start())


def _count_around(text: Text, start: int, end: int, name: str) -> tuple[int, int, int | None]:
    count, said = None, start
    if before := _BEFORE.search(text.plain, 0, start):
        count, start = _counted(before["count"]), before.start()
        if count and (outer := re.search(r"(?<![\w.])(\d+)\s*x\s*\(?\s*$", text.plain[:start])):
            count, start = count * int(outer[1]), outer.start()  # "2x8 H100"
        elif nodes := _NODES.search(text.plain, 0, start):
            many, each = _counted(nodes["count"]) or 1, device(name).devices_per_node or 8
            whole = nodes[0].rstrip().endswith(",") and count and count > each and count % many == 0
            count, start = (count or 1) * (1 if whole else many), nodes.start()  # "2 nodes, 16 H100" are 16
    if (count is None or re.match(r"an?\b", text.plain[start:])) and (after := _AFTER.match(text.plain, end)):
        count, end = int(next(filter(None, after.groups()))), after.end()
    if (plain := _NODE_WORD.match(text.plain, end)) and (outer := _OUTER.search(text.plain, 0, start)):
        count, start, end = (
            (count or 1) * (_counted(outer["count"]) or 1),
            outer.start(),
            plain.end(),
        )  # "two 8xH200 nodes"
    elif before and count and plain and _is_of_nodes(text, before[0], plain):
        return start, plain.end(), _in_nodes(count, plain[0], name)  # "two H200 nodes"
    if _OF_TIME.match(text.plain, end):
        return said, end, None
    if holds := _HOLDS.match(text.plain, end):
        return start, holds.end(), (count or 1) * (_counted(holds["count"]) or 1)
    if count is None and _EACH.search(text.plain, 0, start):
        count = 1
    if count and (either := _EITHER.search(text.plain, 0, start)):
        return either.start(), end, None  # "4 or maybe 8 H100": how many is not said
    if per := _PER_NODE.match(text.plain, end):
        end = per.end()
    if nodes := _NODES_AFTER.match(text.plain, end):
        wanted = _counted(nodes["count"])
        if wanted and (count or "per" in nodes[0] or "/" in nodes[0]):
            count, end = (count or 1) * wanted, nodes.end()
    elif count is None and (nodes := _NODES.search(text.plain, 0, start)):
        count, start = _in_nodes(_counted(nodes["count"]) or 1, nodes[0], name), nodes.start()
    return start, end, count


def _loose_count(text: Text, several: bool) -> tuple[int, Span] | None:
    for match in text.search(_COUNT_LABEL):
        span = Span(*match.span())
        text.take(span)
        return int(match["count"]), span
    for match in text.search(_GPUS):
        if several and re.search(r"\bof \w+$", match[0]):
            continue
        count = _counted(match["count"])
        if count:
            start, end = match.span()
            if per := _PER_NODE.match(text.plain, end):
                end = per.end()
            if nodes := _NODES.search(text.plain, 0, start):
                count, start = count * (_counted(nodes["count"]) or 1), nodes.start()
            elif after := _NODES_AFTER.match(text.plain, match.end()):
                count, end = count * (_counted(after["count"]) or 1), after.end()
            span = Span(start, end)
            text.take(span)
            return count, span
    return None


def _counted(words: str) -> int | None:
    words = words.strip().replace("single", "one").replace("a one", "one")
    if re.fullmatch(r"\d+(?:\.\d+)?k", words):
        return round(float(words[:-1]) * 1e3)
    if re.fullmatch(r"[\d,]+", words):
        value = int(words.replace(",", ""))
        return value if 0 < value <= 1_000_000 else None
    if words in ("a", "an"):
        return 1
    value = spelled(words)
    return round(value) if value else None
