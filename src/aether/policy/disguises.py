"""What a text says where it is disguised by a rule that needs no translation: base64, rot13, leetspeak, letters spaced out. No torch.

For guards and judges, which would else be passed by a disguise that a model can read. Other ciphers and languages are not read.
"""

import base64
import binascii
import codecs
import re

_EVERYDAY = re.compile(
    r"\b(?:the|an?|to|of|and|in|is|for|how|do|i|you|me|my|that|with|on|it|what|can|without|your|from|by|at|as|be)\b"
)
_LEET = [str.maketrans(f"43{one}057@$(892", f"ae{letter}ostascbgz") for one, letter in (("1!", "ii"), ("1|", "ll"))]
"""Signs that stand for letters, our own and PyRIT's; a one is an i or an l."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")


def readings(text: str) -> tuple[str, ...]:
    """The text and what it says where it is base64, rot13, leetspeak or spaced out: what a guard or a judge should look at."""
    found = [text, codecs.encode(text, "rot13"), *(text.translate(table) for table in _LEET)]
    found += [decoded for run in _BASE64.findall(text) if (decoded := _from_base64(run))]
    if re.search(r"(?:(?<!\S)\S ){4,}\S", text):
        # Between words stand three spaces then, and they stay.
        found.append(re.sub(r"(?<=\S) (?=\S)", "", text))
    return tuple(dict.fromkeys(found))


def likely_readings(text: str) -> tuple[str, ...]:
    """The text, and those of its readings that hold more everyday English words than it: what a statistical classifier may be shown."""
    plain = _everyday(text)
    return (text, *(reading for reading in readings(text)[1:] if _everyday(reading) > plain))


def _everyday(text: str) -> int:
    return len(_EVERYDAY.findall(text.lower()))


def _from_base64(run: str) -> str:
    try:
        text = base64.b64decode(run + "=" * (-len(run) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text if text.isprintable() or "\n" in text else ""
