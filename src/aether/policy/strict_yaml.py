"""YAML as a brief may hold it: the safe loader, without anchors and aliases, with one meaning per key and text for keys.

Follows PyYAML's SafeLoader. Nothing is evaluated and no object is made.
"""

from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError


class _Strict(yaml.SafeLoader):
    """The safe loader without anchors, and with one meaning per key."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases: a brief needs none, and they can make a small file endless."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "anchors and aliases are not used in a brief", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConstructorError(None, None, f"the key {key!r} is not text", key_node.start_mark)
            if key in seen:
                message = f"the key {key!r} stands twice in one table"
                raise ConstructorError(None, None, message, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """The document as plain data. Raises ValueError with the place of the mistake."""
    try:
        return yaml.load(text, Loader=_Strict)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
