"""Peers of benchmarks.serving, run inside the environment that has them (transformers[serving], xllamacpp).

    python serving_peers.py llama MODEL.gguf THREADS SLOTS CONTEXT    a llama.cpp server; prints {"url"} and stays
    python serving_peers.py generate MODEL DTYPE THREADS              in-process `generate`, one static batch at a time
    python serving_peers.py batch MODEL DTYPE THREADS                 in-process `generate_batch` (continuous batching)

The last two read one JSON request per line, {"prompts": [[ids]], "output_tokens", "clients", "seconds"}, and answer
{"tokens", "seconds", "e2e_s"}. They have no HTTP to pay for, and `generate` no request that comes late: a head start.
"""

import json
import sys
import time


def llama(path: str, threads: int, slots: int, context: int) -> None:
    """Greedy defaults, polling off: with it, two threads on a shared core starve each other."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.n_ctx, params.cont_batching = slots, slots * context, True
    params.kv_unified = False
    for pool in (params.cpuparams, params.cpuparams_batch):
        pool.n_threads, pool.poll = threads, 0
    params.hostnames, params.port, params.verbosity = ["127.0.0.1"], 0, 0
    server = xllamacpp.Server(params)
    say({"url": server.listening_address, "version": xllamacpp.__version__})
    while True:
        time.sleep(60)


def in_process(kind: str, folder: str, dtype: str, threads: int) -> None:
    """Answer requests until stdin ends."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    once = {"generate": static_batch, "batch": continuous_batch}[kind]
    say({"ready": True, "version": transformers.__version__})
    for line in sys.stdin:
        request = json.loads(line)
        clients, tokens, e2e_s = request["clients"], 0, []
        once(model, request["prompts"][:clients], request["output_tokens"])
        started_s, at = time.perf_counter(), 0
        while time.perf_counter() - started_s < request["seconds"]:
            prompts = [request["prompts"][(at + i) % len(request["prompts"])] for i in range(clients)]
            at += clients
            before_s = time.perf_counter()
            tokens += once(model, prompts, request["output_tokens"])
            e2e_s += [time.perf_counter() - before_s] * clients
        say({"tokens": tokens, "seconds": time.perf_counter() - started_s, "e2e_s": e2e_s})


def static_batch(model, prompts: list, output_tokens: int) -> int:
    """All prompts are equally long, so there is no padding."""
    import torch

    ids = torch.tensor(prompts)
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=output_tokens,
        min_new_tokens=output_tokens,
        do_sample=False,
        pad_token_id=0,
    )
    return (out.shape[1] - ids.shape[1]) * out.shape[0]


def continuous_batch(model, prompts: list, output_tokens: int) -> int:
    """Cache and batch are capped: left alone, they are sized from the machine's memory, and it hangs."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    config = GenerationConfig(max_new_tokens=output_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
    batching = ContinuousBatchingConfig(block_size=32, num_blocks=640, max_batch_tokens=256, use_cuda_graph=False)
    found = model.generate_batch(prompts, generation_config=config, continuous_batching_config=batching)
    return sum(len(one.generated_tokens) for one in found.values())


def say(value: dict) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "llama":
        llama(sys.argv[2], *(int(word) for word in sys.argv[3:6]))
    else:
        in_process(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
