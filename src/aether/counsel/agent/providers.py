"""From a model's name to a client of it: a provider by its key, a server of one's own by its address. Nothing is sent while it is made.

Anthropic, OpenAI and whatever else pydantic-ai knows are "PROVIDER:NAME", with the key in the environment. Servers that speak OpenAI's
protocol are "vllm:NAME", "ollama:NAME" and so on at their usual port, or any name with a base address.
"""

import os
import re

from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from aether.spec.errors import EnvironmentFault, InputError

LOCAL = {"vllm": 8000, "sglang": 30000, "llama.cpp": 8080, "llamacpp": 8080, "ollama": 11434, "aether": 8000}
"""Servers of one's own, and the port that each listens on unless told otherwise (their documentation, 2026-11-25)."""
NAMED = ("anthropic", "openai", "google", "mistral", "groq", "deepseek", "openrouter", "together", "xai", "cohere")
"""Some of the providers that pydantic-ai knows, for the error that lists them."""


def is_local(name: str, base_url: str | None) -> bool:
    """Whether the model is on a server of one's own, which costs nothing to ask."""
    return base_url is not None or name.partition(":")[0].lower() in LOCAL


def model_of(name: str, base_url: str | None = None) -> Model:
    """A client by name. Raises InputError for a name without provider or with an unknown one, EnvironmentFault for a missing key or package."""
    provider, _, rest = name.partition(":")
    provider = provider.lower()
    if base_url is None and rest and provider in LOCAL:
        base_url = os.environ.get(f"{provider.upper()}_BASE_URL") or f"http://127.0.0.1:{LOCAL[provider]}/v1"
    if base_url is not None:
        if not re.match(r"https?://[^/\s]", base_url):
            raise InputError.of("--base-url", base_url, "write the address of a server, as in http://127.0.0.1:8000/v1")
        own = rest if provider in LOCAL or provider == "openai" else name
        key = os.environ.get("OPENAI_API_KEY") or "none"
        return OpenAIChatModel(own, provider=OpenAIProvider(base_url=base_url, api_key=key))
    if not rest:
        raise InputError.of(
            "--model", name, 'write PROVIDER:NAME, as in "openai:gpt-5", or add --base-url for a server of your own'
        )
    try:
        return infer_model(f"{provider}:{rest}")
    except ImportError as error:
        raise EnvironmentFault(
            f'--model {name}: the package of provider {provider} is not installed; pip install "pydantic-ai-slim[{provider}]"'
        ) from error
    except (UserError, ValueError) as error:
        said = str(error).splitlines()[0]
        if "nknown provider" in said or "nknown model" in said:
            raise InputError.of(
                "--model", name, f"the provider is one of {', '.join((*NAMED, *LOCAL))}; or add --base-url"
            ) from error
        variable = re.search(r"`([A-Z][A-Z0-9_]+)`", said)
        mend = f"set {variable[1]} in the environment" if variable else said
        raise EnvironmentFault(f"--model {name}: provider {provider} is not set up; {mend}") from error
