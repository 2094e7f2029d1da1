"""What an operator types as the next record of a control: `max_order_qty=500` on what holds now.

Fields that are not named keep the value that is in force for the scope; for an account without
limits of its own that is the default limits' value, not the value in the code.
"""

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from streams.domain.controls import DEFAULT, ControlSet
from streams.models.controls import AnyControl, Control, Limits

KINDS: Mapping[str, type[Control]] = MappingProxyType(
    {kind.model_fields["kind"].default: kind for kind in get_args(get_args(AnyControl)[0])}
)

#: Set by Orderflow, not by hand.
RESERVED = frozenset({"schema_version", "kind", "scope", "version", "ts_event_ns", "by", "reason"})
#: Kinds of which only the scope `default` is ever read.
GLOBAL_KINDS = frozenset({"routing", "session-shift"})
#: Kill switches of these scopes cannot do this, because:
_NO_REACH = {"cancel_open": ("broker:",), "flatten": ("broker:", "strategy:")}
_WHY = {
    "cancel_open": "cancel by account or symbol",
    "flatten": "a position belongs to an account and a symbol, not to those",
}
KILL_SCOPES = ("account:", "symbol:", "strategy:", "broker:")


def parse_assignments(kind: str, texts: Sequence[str]) -> dict[str, Any]:
    """Return the fields that `name=value` texts, or one JSON object, set.

    Values that begin with `[` or `{` are JSON; fields that are lists also take `AIG,BAC`.
    Raises ValueError for an unknown kind or field, or text that is no assignment.
    """
    model = _model(kind)
    if len(texts) == 1 and texts[0].lstrip().startswith("{"):
        fields: dict[str, Any] = json.loads(texts[0])
    else:
        fields = dict(_assignment(model, text) for text in texts)
    allowed = set(model.model_fields) - RESERVED
    for name in fields:
        if name not in allowed:
            raise ValueError(f"{kind} has no field {name}; it has {', '.join(sorted(allowed))}")
    return fields


def edited(
    controls: ControlSet, kind: str, scope: str, fields: Mapping[str, Any], *, by: str, reason: str
) -> AnyControl:
    """Return the control with `fields` changed; its version is still to be given.

    Raises ValueError (pydantic's ValidationError included) for a scope that the kind has not,
    and for values that the model refuses.
    """
    model = _model(kind)
    _check_scope(kind, scope)
    in_force = _in_force(controls, model, kind, scope)
    values = {name: value for name, value in in_force.items() if name not in RESERVED}
    if "symbol" in model.model_fields:
        values["symbol"] = scope
    if kind == "kill-switch":
        _check_reach(scope, fields)
        values = {}  # a switch that is set says itself all that it does
    record = {**values, **fields, "scope": scope, "by": by, "reason": reason}
    control: Any = model.model_validate(record)
    return control  # type: ignore[no-any-return]


def _model(kind: str) -> type[Control]:
    if kind not in KINDS:
        raise ValueError(f"there is no kind {kind}; the kinds are {', '.join(KINDS)}")
    return KINDS[kind]


def _assignment(model: type[Control], text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"{text!r} is no assignment; write name=value")
    name = name.strip().replace("-", "_")
    if value[:1] in ("[", "{"):
        return name, json.loads(value)
    field = model.model_fields.get(name)
    if field is not None and isinstance(field.default, tuple):
        return name, tuple(part.strip() for part in value.split(",") if part.strip())
    if field is not None and value == "null":
        return name, None
    return name, value


def _check_scope(kind: str, scope: str) -> None:
    if kind in GLOBAL_KINDS and scope != DEFAULT:
        raise ValueError(f"{kind} has the scope {DEFAULT} only, not {scope}")
    if kind == "instrument" and scope == DEFAULT:
        raise ValueError("the scope of an instrument is its symbol")
    if kind == "strategy" and not re.fullmatch(r"(?!default$)[A-Za-z0-9._:-]{1,64}", scope):
        raise ValueError(f"the scope of a strategy is its name, and {scope} is none")
    if kind == "kill-switch" and scope != DEFAULT and not scope.startswith(KILL_SCOPES):
        raise ValueError(f"a kill switch is for {DEFAULT} or {', '.join(KILL_SCOPES)}… not {scope}")


def _check_reach(scope: str, fields: Mapping[str, Any]) -> None:
    """Refuse a switch that could not do what it says it does."""
    for name, scopes in _NO_REACH.items():
        if str(fields.get(name, "false")).lower() == "true" and scope.startswith(scopes):
            raise ValueError(f"a kill switch of {scope} has no {name}: {_WHY[name]}")


def _in_force(controls: ControlSet, model: type[Control], kind: str, scope: str) -> dict[str, Any]:
    record = controls.records.get(f"{kind}:{scope}")
    if record is None and model is Limits:
        record = controls.limits(scope)
    if record is None:
        return {}
    return {name: getattr(record, name) for name in model.model_fields}
