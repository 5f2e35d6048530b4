"""The model card of an exported folder: what it is and how to load it. Facts that are known, no evaluation numbers.

Follows the Hugging Face model card (YAML front matter, then Markdown). Results are the report's to say.
"""

from typing import Any

from aether.models.config import DecoderConfig
from aether.stages.compress.recipe import Candidate

_STORAGE = {
    "float32": "float32 weights, as trained",
    "bfloat16": "bfloat16 weights, rounded from the float32 ones that were trained",
}


def storage(candidate: Candidate) -> str:
    """One sentence part: how the candidate stores its weights."""
    if candidate.kind != "integer":
        return _STORAGE[candidate.kind]
    share = f"each {candidate.group_size} columns" if candidate.group_size else "each row"
    return (
        f"{candidate.bits}-bit integer weights in the linear layers, one scale for {share} "
        "(compressed-tensors, pack-quantized); embeddings and norms in bfloat16"
    )


def facts_of(config: DecoderConfig, data: dict[str, Any]) -> dict[str, Any]:
    """What the card says, from the model's config and the data step's data.json."""
    train = data.get("splits", {}).get("train", {})
    return {
        "config": config,
        "documents": train.get("documents"),
        "bytes": train.get("bytes"),
        "tokens": train.get("tokens"),
    }


def model_card(candidate: Candidate, facts: dict[str, Any]) -> str:
    """The Markdown of README.md."""
    config: DecoderConfig = facts["config"]
    known = all(facts[key] is not None for key in ("documents", "bytes", "tokens"))
    data = (
        f"{facts['documents']:,} documents, {facts['bytes']:,} bytes, {facts['tokens']:,} tokens in the training split "
        "(how often they were seen is in the run's training record)."
        if known
        else "See the data card of the run."
    )
    needs = "transformers and compressed-tensors" if candidate.kind == "integer" else "transformers"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# A small language model built by Aether

A decoder of the Qwen3 architecture with {config.parameters():,} parameters: {config.layers} layers, hidden size
{config.hidden_size}, {config.heads} query and {config.kv_heads} key-value heads of {config.head_size},
SwiGLU of {config.mlp_size}, {config.vocab_size:,} byte-level BPE tokens, context of {config.context_tokens} tokens,
tied embeddings. Stored with {storage(candidate)}.

## Data
{data}

## Loading
Needs {needs}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
```

## Limits
It continues text like its training data and follows no instructions. It may repeat training text word for word.
What was measured, on which held-out files and with which intervals, is in the report of the run that built it.
"""
