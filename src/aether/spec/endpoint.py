"""Addresses of models that are asked over HTTP."""


def is_address(place: str) -> bool:
    """Whether a model is named by its address, not by a file or folder."""
    return place.startswith(("http://", "https://"))


def base_of(address: str) -> str:
    """The address up to its /v1, as OpenAI's clients take it."""
    base = address.rstrip("/")
    return base if base.endswith("/v1") else f"{base}/v1"
