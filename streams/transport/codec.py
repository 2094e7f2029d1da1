"""Bytes to messages at the edge of a batch, and back.

Whatever comes in, decoding answers with a message or with `Malformed`; it never raises.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from itertools import repeat
from types import NoneType
from typing import Any, get_args

from aiokafka.structs import ConsumerRecord
from pydantic import BaseModel, TypeAdapter, ValidationError

from streams.models.base import SCHEMA_VERSION
from streams.ports import Malformed, Record
from streams.transport.journal import CRASHED_WORKER, DECODER, Journal
from streams.transport.quick import MAX_VALUE_BYTES, QUICK

_NUMBER_ERRORS = {
    "finite_number",
    "decimal_max_digits",
    "decimal_max_places",
    "decimal_whole_digits",
    "decimal_parsing",
    "greater_than_equal",
    "less_than_equal",
    "greater_than",
    "int_parsing_size",
    "int_from_float",
}
_SCHEMA_ERRORS = {
    "missing",
    "extra_forbidden",
    "union_tag_invalid",
    "union_tag_not_found",
    "dict_type",
    "model_type",
    "model_attributes_type",
}


def decode(adapter: TypeAdapter[Any], raw: bytes) -> Any:
    """Return the message in `raw`, or `Malformed` with a code of `docs/reference/errors.md`."""
    if len(raw) > MAX_VALUE_BYTES:
        return Malformed("TOO_LARGE", f"{len(raw)} bytes; the limit is {MAX_VALUE_BYTES}")
    try:
        return adapter.validator.validate_json(raw)
    except ValidationError as error:
        return _malformed(error, raw)
    except (ValueError, RecursionError) as error:
        return Malformed("BAD_JSON", str(error)[:300])


def _malformed(error: ValidationError, raw: bytes) -> Malformed:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    text = f"{path}: {first['msg']}" if path else str(first["msg"])
    if first["type"] == "json_invalid":
        return Malformed("TOO_COMPLEX" if "recursion" in text else "BAD_JSON", text[:300])
    return Malformed(_code(first["type"], path, raw), text[:300])


def _code(kind: str, path: str, raw: bytes) -> str:
    if path.endswith("schema_version"):
        return "SCHEMA_FUTURE" if _newer(raw) else "BAD_SCHEMA"
    if kind in _NUMBER_ERRORS:
        return "BAD_NUMBER"
    if kind in _SCHEMA_ERRORS:
        return "BAD_SCHEMA"
    if kind == "string_pattern_mismatch":
        return "BAD_ID"
    return "BAD_TYPE"


def _newer(raw: bytes) -> bool:
    try:
        version = TypeAdapter(dict[str, Any]).validate_json(raw).get("schema_version")
    except ValidationError:
        return False
    return isinstance(version, int) and version > SCHEMA_VERSION


def encode(message: BaseModel) -> bytes:
    """Return the JSON of a message; fields that are None are left out where they come back."""
    return _writer(type(message))(message)


@cache
def _writer(kind: type[BaseModel]) -> Callable[[BaseModel], bytes]:
    return partial(kind.__pydantic_serializer__.to_json, exclude_none=nones_come_back(kind))


@cache
def nones_come_back(kind: type[BaseModel]) -> bool:
    """Return whether None is the default of every field that may be None, in parts as well."""
    return all(
        not (NoneType in get_args(field.annotation) and field.default is not None)
        and all(nones_come_back(part) for part in _models_in(field.annotation))
        for field in kind.model_fields.values()
    )


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


class Batch:
    """The records of one partition from one fetch, decoded once for all agents that get them."""

    __slots__ = ("_adapter", "_decoded", "_raw", "epoch", "follows", "partition", "source", "topic")

    def __init__(
        self,
        source: str,
        topic: str,
        partition: int,
        raw: list[ConsumerRecord[bytes, bytes]],
        adapter: TypeAdapter[Any] | None,
        epoch: int = 0,
        follows: int = 0,
    ) -> None:
        """`source` is the topic's name in Kafka, `topic` that of the registry.

        `epoch` counts how often the worker has given up its partitions: a batch of an earlier
        epoch is not worked on. `follows` is where the delivery before this one ended.
        """
        self.follows = follows
        self.epoch = epoch
        self.source = source
        self.topic = topic
        self.partition = partition
        self._raw = raw
        self._adapter = adapter
        self._decoded: list[Record] | None = None

    @property
    def first(self) -> int:
        """Return the offset of the first record."""
        return int(self._raw[0].offset)

    @property
    def end(self) -> int:
        """Return the offset after the last record."""
        return int(self._raw[-1].offset) + 1

    @property
    def size(self) -> int:
        """Return the bytes of all keys and values."""
        return sum(len(raw.key or b"") + len(raw.value or b"") for raw in self._raw)

    @property
    def records(self) -> list[Record]:
        """Return the decoded records, in offset order."""
        return self.decoded(Journal()) if self._decoded is None else self._decoded

    def decoded(self, journal: Journal) -> list[Record]:
        """Return the records; what the process died of while decoding it is `Malformed`."""
        if self._decoded is None:
            with journal.decoding(self.topic, self.partition, self.first, self.end) as refused:
                self._decoded = [
                    self._record(raw, value, refused(raw.offset))
                    for raw, value in zip(self._raw, self._quickly(journal), strict=False)
                ]
        return self._decoded

    def _quickly(self, journal: Journal) -> Iterable[Any]:
        """Return the messages that are known without a look at each; None for the others.

        Where the process died while decoding, each record is looked at, to find the one.
        """
        quick = QUICK.get(self.topic)
        searching = journal.suspects_in(DECODER, self.topic, self.partition, self.first, self.end)
        if quick is None or searching:
            return repeat(None)
        return quick([raw.value for raw in self._raw])

    def _record(self, raw: ConsumerRecord[bytes, bytes], value: Any, refused: str) -> Record:
        """Return a record; `value` is its message if that is known already."""
        if refused:
            value = Malformed(CRASHED_WORKER, refused)
        elif value is None:
            value = raw.value
            if value is not None and self._adapter is not None:
                value = decode(self._adapter, value)
        return Record(
            self.topic,
            self.partition,
            raw.offset,
            raw.key,
            value,
            raw.value,
            raw.timestamp,
            raw.headers,
        )
