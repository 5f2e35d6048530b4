"""Texts disguised by rules that need no translation; `aether.policy.disguises` reads them back.

The disguises are those of Wei et al., arXiv 2307.02483 (base64, rot13, leetspeak, split payloads) and Yuan et al., arXiv 2308.06463 (ciphers).
"""

import base64
import codecs

_LEET = str.maketrans("aeiostAEIOST", "431057431057")


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
