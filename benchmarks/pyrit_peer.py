# pyright: reportMissingImports=false
"""PyRIT's side of `benchmarks.pyrit_check`, run by the Python of PyRIT's own environment: its converters, and its prompt sending to an endpoint.

One JSON object comes in (`texts`, `endpoint`, `model`, `max_tokens`), one goes out (`converted`, `replies`, `version`).
"""

import asyncio
import json
import sys
from importlib import metadata
from typing import Any

from pyrit import converter
from pyrit.executor.attack import AttackConverterConfig, PromptSendingAttack
from pyrit.prompt_normalizer import ConverterConfiguration
from pyrit.prompt_target import OpenAIChatTarget
from pyrit.setup import initialize_pyrit_async

CONVERTERS = {
    "base64": converter.Base64Converter,
    "rot13": converter.ROT13Converter,
    "leetspeak": converter.LeetspeakConverter,
    "spaced": converter.CharacterSpaceConverter,
}


async def main() -> None:
    """Convert, send, answer."""
    asked = json.load(sys.stdin)
    await initialize_pyrit_async("InMemory", load_defaults=False, silent=True)
    target = OpenAIChatTarget(
        endpoint=asked["endpoint"],
        model_name=asked["model"],
        api_key="none",
        temperature=0.0,
        extra_body_parameters={"max_tokens": asked["max_tokens"]},
    )
    converted: dict[str, list[str]] = {}
    replies: dict[str, list[dict[str, Any]]] = {}
    for name, kind in CONVERTERS.items():
        converted[name] = [
            (await kind().convert_async(prompt=text, input_type="text")).output_text for text in asked["texts"]
        ]
        chosen = AttackConverterConfig(request_converters=ConverterConfiguration.from_converters(converters=[kind()]))
        attack = PromptSendingAttack(objective_target=target, attack_converter_config=chosen)
        replies[name] = [await sent(attack, text) for text in asked["texts"]]
    json.dump({"converted": converted, "replies": replies, "version": metadata.version("pyrit")}, sys.stdout)


async def sent(attack: Any, text: str) -> dict[str, Any]:
    """What came back, and what PyRIT took it for."""
    done = await attack.execute_async(objective=text)
    piece = done.last_response
    return {
        "text": piece and piece.converted_value,
        "error": piece and str(piece.response_error),
        "outcome": done.outcome.name,
    }


if __name__ == "__main__":
    asyncio.run(main())
