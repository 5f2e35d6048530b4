"""Which model a record is of: the hash of its weights, or what an endpoint says of itself; and how far that can be known."""

from collections.abc import Mapping, Sequence
from typing import Any

from aether.spec.report import Text, Verbatim, text_of

UNSEEN = "known by its address and the name that it gives; weights unseen"


def model_of(about: Mapping[str, Any]) -> tuple[str, str] | None:
    """What says which model a record is of: how, and what. None where the record does not say (a report of another tool)."""
    target = about.get("target") or {}
    weights = weights_of(about)
    if weights is not None:
        return "weights", weights
    if "endpoint" in target:
        address = str(target["endpoint"]).rstrip("/").removesuffix("/v1")
        return "endpoint", f"{address} {target.get('model', '')}"
    return None


def weights_of(about: Mapping[str, Any]) -> str | None:
    """The hash of the weights that answered: seen here, or told by the endpoint that served them. None where neither is so."""
    found = (about.get("target") or {}).get("sha256") or (about.get("served") or {}).get("weights_sha256")
    return None if found is None else str(found)


def is_guarded(about: Mapping[str, Any]) -> bool:
    """Whether defences are known to have stood before the model."""
    return "guard" in (about.get("target") or {}) or bool((about.get("served") or {}).get("guarded"))


def told(about: Mapping[str, Any]) -> str:
    """The model of a record in a few words."""
    found = model_of(about)
    if found is None:
        return "a model that its record does not name"
    how, what = found
    return f"{about.get('place') or how} ({how} {what[:16] if how == 'weights' else what})"


def identity_text(about: Mapping[str, Any]) -> Text | None:
    """The sentence of a page that says which model it speaks of, and how that is known. None where the record does not say."""
    found = model_of(about)
    if found is None:
        return None
    how, what = found
    behind = ", behind its server's defences." if is_guarded(about) else "."
    if how == "endpoint":
        return text_of("The model at ", Verbatim(role="name", text=what), f" is {UNSEEN}{behind}")
    told_by = (
        " (SHA-256), as the endpoint says of itself" if "endpoint" in (about.get("target") or {}) else " (SHA-256)"
    )
    return text_of("The model's weights are ", Verbatim(role="hash", text=what), f"{told_by}{behind}")


def untested_weights(abouts: Sequence[Mapping[str, Any]]) -> list[Text]:
    """What is not known of an endpoint that does not say which weights it serves."""
    if all(weights_of(about) is not None or model_of(about) is None for about in abouts):
        return []
    told = f"Which weights answered: the model is {UNSEEN}. Others may answer under the same name tomorrow."
    return [text_of(told)]
