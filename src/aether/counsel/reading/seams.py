"""Puts a space where words are written without one: "8h200", "4kin", signs of Chinese or Japanese beside Latin letters and digits.

Places in the person's text stay known. Nothing else is changed.
"""

import re

EAST = r"[\u3040-\u30ff\u4e00-\u9fff]"
"""Kana and Chinese signs, which are written without spaces."""
_SEAM = re.compile(
    r"(?<![\w.,-])\d{1,4}(?=(?:[habl]\d{2,3}s?|mi\d{3}x?|g[hb]\d00)(?!\w))"
    r"|(?<![\w.])\d+(?:\.\d+)?k?(?=(?:in|out)(?!\w))"
    r"|(?<!\w)(?:[habl]\d{2,3}s?|mi\d{3}x|[345]0[5-9]0)(?=x\d{1,4}(?!\w))"
    rf"|[a-z0-9%](?={EAST})|{EAST}(?=[a-z0-9$])"
)


def apart(plain: str, origin: list[int]) -> tuple[str, list[int]]:
    """The text with those spaces, and for each character its place in the person's text."""
    parts, places, at = [], [], 0
    for match in _SEAM.finditer(plain):
        parts += [plain[at : match.end()], " "]
        places += [*origin[at : match.end()], origin[match.end() - 1]]
        at = match.end()
    return "".join([*parts, plain[at:]]), places + origin[at:]
