"""Recurrent mixers: CPU time of a training pass beside attention, and agreement with fla's naive forms.

    python -m benchmarks.mixers [--fla FOLDER]

One process, one thread, float32. Every decoder has the same width, layers and feed-forward part; inner sizes are those that make the mixers' parameters
alike, which are listed. `--fla` is an unpacked wheel of fla-core (`pip download fla-core`, then unzip): its reference files
are read one by one, since the package itself needs Triton; einops must be installed for two of them.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from aether.models.config import DecoderConfig
from aether.models.parts.decayed import decayed_attention
from aether.models.parts.decoder import decoder
from aether.models.parts.gated_delta import delta_rule
from aether.models.parts.retnet import log_decays
from aether.models.parts.rwkv6 import bonus_attention
from aether.models.parts.rwkv7 import vector_delta_rule
from benchmarks.records import circumstances, write

SHAPE = {
    "vocab_size": 1024, "hidden_size": 256, "layers": 4, "heads": 4, "kv_heads": 4, "head_size": 64, "mlp_size": 768,
    "context_tokens": 512,
}  # fmt: skip
INNER = {"inner_size": 256}
MIXERS: dict[str, dict[str, Any]] = {
    "attention": {},
    "mamba": {"recurrence": INNER},
    "mamba2": {"recurrence": INNER | {"state_size": 64}},
    "retnet": {"recurrence": INNER},
    "gated_delta": {"recurrence": INNER},
    "rwkv6": {},
    "rwkv7": {},
}
BATCH, TOKENS, REPEATS = 8, 256, 3


def fastest_ms(step: Callable[[], None]) -> float:
    """Least CPU time of some passes, the first left out."""
    step()
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        step()
        times.append(time.process_time() - begin)
    return 1e3 * min(times)


def ours(mixer: str, more: dict[str, Any]) -> dict[str, Any]:
    """Forward and backward pass of a decoder with this mixer."""
    model = decoder(DecoderConfig(**SHAPE, mixer=mixer, **more))
    tokens = torch.randint(0, 1024, (BATCH, TOKENS + 1), generator=torch.Generator().manual_seed(0))

    def step() -> None:
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        model.zero_grad()

    return {"model": f"Aether, {mixer}", "parameters": model.config.parameters(), "ms": fastest_ms(step)}


def load(folder: Path, name: str) -> ModuleType:
    """One reference file of fla, without its package."""
    spec = importlib.util.spec_from_file_location(f"fla_{Path(name).parent.name}", folder / "fla" / "ops" / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(folder: Path) -> dict[str, float]:
    """Largest difference from fla's naive forms (float32 inside), over 200 tokens, outputs of the order of 1."""
    generator = torch.Generator().manual_seed(0)
    q, k, v, w, h, a = (torch.randn(2, 3, 200, 16, generator=generator) for _ in range(6))
    k, h = (torch.nn.functional.normalize(x, dim=-1) for x in (k, h))
    beta, log_decay = torch.rand(2, 3, 200, generator=generator), -torch.rand(2, 3, 200, generator=generator)
    state, first = torch.zeros(2, 3, 16, 16), [x.transpose(1, 2) for x in (q, k, v)]
    found: dict[str, float] = {}

    def compare(name: str, one: Tensor, two: Tensor) -> None:
        found[name] = float((one - two).abs().max())

    fading = log_decays(3, q).expand(2, 200, 3)
    y, _ = decayed_attention((first[0], first[1] * 16**-0.5, first[2]), fading, state)
    compare("retnet", y.transpose(1, 2), load(folder, "retention/naive.py").naive_retention(q, k, v))
    delta = load(folder, "gated_delta_rule/naive.py").naive_recurrent_gated_delta_rule
    steps = [x.transpose(1, 2) for x in (beta, log_decay)]
    y, _ = delta_rule((first[0] * 16**-0.5, first[1], first[2]), steps[0], steps[1], state)
    compare("gated_delta", y, delta(*first, *steps)[0])
    bonus, decay = torch.randn(3, 16, generator=generator), -w.exp()
    y, _ = bonus_attention((first[0], first[1], first[2]), decay.transpose(1, 2), bonus, state)
    naive = load(folder, "rwkv6/recurrent_naive.py").naive_recurrent_rwkv6(q, k, v, decay, bonus, scale=1.0)
    compare("rwkv6", y.transpose(1, 2), naive[0] if isinstance(naive, tuple) else naive)
    soft = -0.6065 * w.sigmoid()
    given = [x.transpose(1, 2) for x in (-h, h * a.sigmoid(), soft)]
    y, _ = vector_delta_rule((first[0], given[0]), (given[1], first[1], first[2]), given[2], state)
    dplr = load(folder, "generalized_delta_rule/dplr/naive.py").dplr_recurrence
    naive = dplr(q * 4, k, v, -h, h * a.sigmoid(), soft)
    compare("rwkv7 (fla's dplr)", y.transpose(1, 2), naive[0])
    return found


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fla", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [ours(mixer, more) for mixer, more in MIXERS.items()]
    agreement = {} if arguments.fla is None else differences(arguments.fla)
    words = [] if arguments.fla is None else ["--fla", "FOLDER"]
    record = circumstances("benchmarks.mixers", words=words) | {"rows": rows, "differences": agreement}
    lines = [
        f"# Recurrent mixers, {record['date']}",
        "",
        f"`{record['command']}`, {record['machine']['cpu']}, one thread, float32.",
    ]
    lines += [
        f"CPU time of a forward and backward pass over {BATCH} x {TOKENS} tokens, width 256, 4 layers: least of {REPEATS}.",
        "",
    ]
    lines += ["| model | parameters | ms |", "|---|---|---|"]
    lines += [f"| {row['model']} | {row['parameters']:,} | {row['ms']:.0f} |" for row in rows]
    if agreement:
        lines += ["", "Largest difference from the naive forms of fla-core over 200 tokens, float32:", ""]
        lines += ["| mixer | difference |", "|---|---|"]
        lines += [f"| {name} | {value:.1e} |" for name, value in agreement.items()]
    write("mixers", record, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
