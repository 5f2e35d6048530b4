"""German words of quantities, as they stand in mixed texts ("600 Token Eingabe", "höchstens 2 Tage"), put as the English that is read.

Units, bounds and what is counted; no other word of the language. Their places in the person's text stay known.
"""

import re

_WORDS = {
    r"anfragen?": "requests", r"nachrichten": "messages", r"gespräche": "chats", r"nutzern?|benutzern?|anwendern?": "users",
    r"gleichzeitigen?": "concurrent", r"sekunden?|sek": "seconds", r"millisekunden?": "milliseconds", r"minuten": "minutes",
    r"stunden?": "hours", r"tagen?|tage": "days", r"wochen?": "weeks", r"monaten?|monate": "months", r"jahren?|jahre": "years",
    r"eingaben?": "input", r"ausgaben?|antworten": "output", r"antwortzeit(?:en)?|latenz": "latency", r"durchsatz": "throughput",
    r"höchstens|maximal|bis zu|nicht mehr als": "at most", r"mindestens|wenigstens": "at least", r"unter(?=\s+\d)": "under", r"über(?=\s+\d)": "over",
    r"(?:milliarden?|mrd\.?)(?=\s)": "billion", r"millionen|mio\.(?=\s)": "million", r"tausend": "thousand", r"dollar": "dollars",
    r"(?:zeit )?bis zum ersten token|ersttoken(?:zeit|latenz)": "time to first token",
    r"trainieren": "train", r"feintunen|nachtrainieren": "fine-tune", r"vortrainieren": "pretrain", r"betreiben|ausrollen": "serve",
    r"quantisieren": "quantise", r"verschmelzen": "merge", r"auswerten": "evaluate", r"vergleich(?:en)?": "compare",
}  # fmt: skip
_PER = {"sekunde": "per second", "s": "per s", "minute": "per minute", "stunde": "per hour", "tag": "per day", "woche": "per week", "monat": "per month", "token": "per token", "nutzer": "per user", "karte": "per gpu", "million": "per million"}  # fmt: skip
_GERMAN = re.compile(
    rf"(?<![\w-])(?:pro\s+(?P<per>{'|'.join(_PER)})|{'|'.join(f'(?P<w{i}>{words})' for i, words in enumerate(_WORDS))})(?![\w-])"
)
_ENGLISH = tuple(_WORDS.values())


def in_english(plain: str, origin: list[int]) -> tuple[str, list[int]]:
    """The text with those words put in English, and for each character its place in the person's text."""
    parts, places, at = [], [], 0
    for match in _GERMAN.finditer(plain):
        said = _PER[match["per"]] if match["per"] else _ENGLISH[int((match.lastgroup or "w0")[1:])]
        width = match.end() - match.start()
        parts += [plain[at : match.start()], said]
        places += origin[at : match.start()]
        places += [origin[match.start() + min(width - 1, i * width // len(said))] for i in range(len(said))]
        at = match.end()
    return "".join([*parts, plain[at:]]), places + origin[at:]
