"""The base of every noun: a frozen pydantic model that refuses keys it does not know."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Noun(BaseModel):
    """A frozen value. Unknown keys are errors, and NaN or infinity is not a value a record may hold."""

    circumstance: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where and not what (a path, a host): left out of fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
