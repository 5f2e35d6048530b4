"""The base of every noun: a frozen pydantic model that refuses keys it does not know."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Noun(BaseModel):
    """A frozen value. Unknown keys are errors, and NaN or infinity is not a value a record may hold."""

    circumstance: ClassVar[frozenset[str]] = frozenset()
    """Fields that say where and not what (a path, a host): left out of fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Extended(Noun):
    """A noun that gained the fields in `added`: one at its default is left out of a dump, so that old fingerprints stay."""

    added: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        same = {
            name for name in self.added if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        }
        return {name: value for name, value in handler(self).items() if name not in same}
