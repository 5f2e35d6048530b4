"""A brief that a test can afford: real code (packages of the standard library), a small load, four minutes at most."""

import json
from pathlib import Path

SMALL = {
    "name": "small",
    "intended_use": "Complete Python code in tests of the build.",
    "modality": "code",
    "targets": [
        "bits_per_byte <= 6 bit/byte",
        "ttft_p99 <= 20 s",
        "size_on_disk <= 100 MB",
        "build_time <= 4 min",
    ],
    "data": {
        "sources": ["python:package/email"],
        "out_of_distribution": "python:package/json",
    },
    "hardware": {"name": "this-machine", "price_usd_per_hour": 0.1},
    "load": {"requests_per_s": 10, "prompt_tokens": 32, "output_tokens": 8, "requests": 20},
}


def write_brief(folder: Path, **changes: object) -> Path:
    """`SMALL` with `changes` at its top level, as a JSON file."""
    path = folder / "brief.json"
    path.write_text(json.dumps(SMALL | changes), encoding="utf-8")
    return path
