"""The device of a published row by what the row calls it: "8x NVIDIA A100-SXM4-80GB", "DGX H100 (80 GB)", "TPU v5p-512".

The library reads names without case, order and maker; here words that tell of something else (counts, hosts, slices, notes) are
left out, the longest run of words that names one device wins. Nothing is measured or predicted.
"""

import functools
import re

from aether.knowledge import library
from aether.knowledge.library import Device
from aether.spec.errors import AetherError

_LONGEST = 12
"""Words of a name that are looked at (a choice: names of devices have five at most)."""


@functools.cache
def device_named(text: str) -> Device | None:
    """The device, or None where no part of the text names exactly one."""
    plain = re.sub(r"(?<=\d)\s*gi?b\b", "gb", text.lower())
    plain = re.sub(r"\b\d+ ?x ?(?=[a-z])", "", plain)
    words = [word for word in re.split(r"[^a-z0-9.+]+", plain) if word][:_LONGEST]
    for size in range(len(words), 0, -1):
        for start in range(len(words) - size + 1):
            part = " ".join(words[start : start + size])
            for spelling in (part, f"TPU {part}") if part.startswith("v") else (part,):
                try:
                    return library.device(spelling)
                except AetherError:
                    continue
    return None
