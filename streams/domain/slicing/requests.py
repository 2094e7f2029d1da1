"""What a request does to sliced orders: begin one, stop one; and what is refused."""

from dataclasses import dataclass
from hashlib import blake2b

from streams.domain.aging import Gone
from streams.domain.build import evolve, make
from streams.domain.slicing.parents import Parents
from streams.domain.slicing.rows import OVER, Parent, parent_key
from streams.models.slices import CancelSlices, SliceCommand, StartPov, StartTwap


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request does nothing: a dead letter's code and text."""

    code: str
    text: str


def content_of(start: StartTwap | StartPov) -> str:
    """Return a hash of what a request asks for, its time left out."""
    numbers = ("qty", "limit_price", "interval_s", "participation", "min_slice_qty")
    text = start.model_dump_json(exclude={"ts_event_ns", *numbers})
    for name in numbers:
        value = getattr(start, name, None)
        text += f"|{value.normalize():f}" if value is not None else "|"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def taken_up(
    parents: Parents, command: SliceCommand, asked_ns: int, *, redelivered: bool
) -> Refused | None:
    """Take a request up; return why it is set aside, or None."""
    found = parents.rows.get(parent_key(command.account, command.parent_id))
    if isinstance(command, CancelSlices):
        return _stopped(parents, command, found, redelivered=redelivered)
    content = content_of(command)
    if isinstance(found, Parent | Gone):
        if found.content != content:
            text = f"parent {command.parent_id} exists with other content; it stands"
            return Refused("SLICES_CONFLICT", text)
        if isinstance(found, Parent) and redelivered:
            parents.repeat(found)
    elif not redelivered:
        start_ns = asked_ns if command.start_ns is None else command.start_ns
        parents.begin(make(Parent, start=command, start_ns=start_ns, content=content))
    return None


def _stopped(
    parents: Parents, command: CancelSlices, found: object, *, redelivered: bool
) -> Refused | None:
    if isinstance(found, Gone):
        return None
    if not isinstance(found, Parent):
        text = f"account {command.account} has no sliced order {command.parent_id}"
        return Refused("UNKNOWN_SLICES", text)
    if redelivered:
        parents.repeat(found)
    elif not found.stop and found.status not in OVER:
        parents.act(parents.keep(evolve(found, stop=True), silent=True))
    return None
