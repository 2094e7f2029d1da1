"""What a table is: its name, its keys, its values, its one writer."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter


@dataclass(frozen=True)
class TableSpec:
    """One table. Its changelog is the compacted topic `<namespace.>table.<name>.v1`.

    Values are pydantic models (a union of them, told apart by a `kind` field), frozen and
    replaced whole. A key's partition is that of the source record, so keys start with what the
    source is keyed by.
    """

    name: str
    key: str
    value: Any
    written_by: str
    doc: str
    bound: str

    def adapter(self) -> TypeAdapter[Any]:
        """Return the validator of the table's values."""
        return TypeAdapter(self.value)

    def changelog(self, namespace: str = "") -> str:
        """Return the name of the changelog topic."""
        name = f"table.{self.name}.v1"
        return f"{namespace}.{name}" if namespace else name
