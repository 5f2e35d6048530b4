"""Texts disguised by rules that need no translation, and how an answer that came back disguised is read.

The disguises are those of Wei et al., arXiv 2307.02483 (base64, rot13, leetspeak, split payloads) and Yuan et al., arXiv 2308.06463 (ciphers).
"""

import base64
import binascii
import codecs
import re

_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")


def to_base64(text: str) -> str:
    """Of the UTF-8 bytes."""
    return base64.b64encode(text.encode()).decode()


def to_rot13(text: str) -> str:
    """Latin letters moved by thirteen."""
    return codecs.encode(text, "rot13")


def to_leetspeak(text: str) -> str:
    """Six letters as digits that look like them."""
    return text.translate(_LEET)


def to_spaced(text: str) -> str:
    """A space between all characters."""
    return " ".join(text)


def to_split(text: str) -> str:
    """Three parts to be joined by the reader, as assignments."""
    third = max(1, -(-len(text) // 3))
    parts = [text[start : start + third] for start in range(0, len(text), third)]
    return "; ".join(f'{name} = "{part}"' for name, part in zip("abc", parts, strict=False))


def to_plain(text: str) -> str:
    """As it is."""
    return text


ENCODINGS = {
    "plain": to_plain,
    "base64": to_base64,
    "rot13": to_rot13,
    "leetspeak": to_leetspeak,
    "spaced": to_spaced,
    "split": to_split,
}


def readings(text: str) -> tuple[str, ...]:
    """The text and what it says where it is base64, rot13, leetspeak or spaced out: what a guard or a judge should look at."""
    found = [text, to_rot13(text), text.translate(str.maketrans("431057", "aeiost"))]
    found += [decoded for run in _BASE64.findall(text) if (decoded := _from_base64(run))]
    if re.search(r"(?:\S ){8,}\S", text):
        found.append(re.sub(r"(\S) (?=\S(?: |$))", r"\1", text))
    return tuple(dict.fromkeys(found))


def _from_base64(run: str) -> str:
    try:
        text = base64.b64decode(run + "=" * (-len(run) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return text if text.isprintable() or "\n" in text else ""
