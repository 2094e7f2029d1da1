"""Judge every command: field rules, repetitions, pre-trade risk; know what is at stake.

In      orders.requested (key account): submit, cancel, replace
        orders.events (key account): what happened to orders, so that exposure comes back
Out     orders.approved: what passed; orders.events: approved, rejected, pending_cancel,
        pending_replace, cancel_rejected, replace_rejected, duplicate; orders.requested: cancels
        and closing orders of a kill switch
State   table `risk`: accounts, orders, requests. Verdict and reservation are one change
Twice   a redelivered command is answered from its stored verdict: same ids, nothing changes; a
        known id at another offset is a `duplicate`, with CONFLICT if its content differs, also
        when its order has left the table
Bad     TOMBSTONE, NO_KEY, KEY_MISMATCH, WRONG_PARTITION, NO_VERDICT; fills that contradict
        what is known: BAD_FILL, EXECUTION_CONFLICT
"""

from collections.abc import Callable, Iterable, Iterator

from streams import defences
from streams.defences import Defence
from streams.domain.aging import KEEP_DAYS, Gone
from streams.domain.build import evolve
from streams.domain.controls import ControlSet
from streams.domain.enforcement import Known, acting, commands
from streams.domain.executions import Contradiction
from streams.domain.exposure import day_of, order_key
from streams.domain.exposure_events import OWN, Exposure, apply_event, happened_after
from streams.domain.exposure_models import RiskAccount, RiskOrder, RiskRecord, RiskRequest
from streams.domain.judgement import (
    LEFT,
    Source,
    Surroundings,
    judge_cancel,
    judge_replace,
    judge_submit,
    opened,
    request_content,
    request_id_of,
)
from streams.domain.resting import Crossing, RestingOrders
from streams.domain.risk import Rules, reference_of, rules_for
from streams.domain.sessions import Calendar
from streams.domain.validation import full_content, normalise, trade_content
from streams.domain.verdicts import (
    approved_request,
    approved_submit,
    repeated_event,
    request_event,
    submit_event,
)
from streams.models.controls import KillSwitch
from streams.models.market import LastPrice
from streams.models.orders import Cancel, OrderEvent, OrderTerms, Replace, Submit
from streams.ports import Agent, Malformed, Record, Unit
from streams.topics import ORDERS_APPROVED, ORDERS_EVENTS, ORDERS_REQUESTED
from tables.aging import Sweeps
from tables.risk import expire, sweep

#: Rules and partitions that are kept at hand; beyond that they are looked up anew.
MAX_AT_HAND = 20_000


class Validator(Agent[RiskRecord]):
    """The gate of the order path; one per worker, over the partitions it owns.

    `controls` and `price` give what is known now, in memory. `partition_of` is Kafka's
    partitioner for the topics keyed by account.
    """

    needs = b'"live":true'

    def __init__(
        self,
        controls: Callable[[], ControlSet],
        price: Callable[[str], LastPrice | None],
        calendar: Calendar,
        partition_of: Callable[[str], int],
    ) -> None:
        self._controls = controls
        self._price = price
        self._calendar = calendar
        self._partition_of = partition_of
        self._resting: dict[int, RestingOrders] = {}
        self._open: dict[int, Known] = {}
        self._sweeps = Sweeps()
        self._partitions: dict[str, int] = {}
        self._known: ControlSet | None = None
        self._acting: tuple[KillSwitch, ...] = ()
        self._rules: dict[tuple[str, str, str], Rules] = {}
        self._shift_ns = 0
        self._surroundings: tuple[Unit[RiskRecord], Surroundings] | None = None

    def step(self, unit: Unit[RiskRecord], record: Record) -> None:
        """Judge one command, or take up one event."""
        if fault := self._fault(record):
            unit.dead_letter(record, *fault)
            return
        value = record.value
        self._refresh()
        if isinstance(value, OrderEvent):
            self._event(unit, record, value)
        elif isinstance(value, Submit):
            self._submit(unit, record, value)
        else:
            self._request(unit, record, value)

    def _fault(self, record: Record) -> tuple[str, str] | None:
        """Return code and text of what keeps the record from being used at all, or None."""
        value, key = record.value, record.key
        if value is None:
            return "TOMBSTONE", "a null value deletes nothing here; send a cancel command"
        if isinstance(value, Malformed):
            return value.code, value.error
        if key is None:
            return "NO_KEY", f"the record key must be the account, {value.account}"
        account: str = value.account
        if key != account.encode():
            return "KEY_MISMATCH", f"key {key[:80]!r}, account {account}; they must be equal"
        expected = self._partitions.get(account)
        if expected is None:
            if len(self._partitions) >= MAX_AT_HAND:
                self._partitions.clear()
            expected = self._partitions[account] = self._partition_of(account)
        if expected != record.partition:
            text = f"account {account} belongs on {expected}, came on {record.partition}"
            return "WRONG_PARTITION", f"{text}; use Kafka's default partitioner (murmur2)"
        return None

    def _refresh(self) -> None:
        """Drop the rules at hand when the controls have changed."""
        controls = self._controls()
        if controls is not self._known:
            self._known = controls
            self._rules.clear()
            self._surroundings = None
            self._shift_ns = controls.session_shift_ns()
            self._acting = acting(controls)

    def _rules_of(self, account: str, symbol: str, strategy: str) -> Rules:
        name = (account, symbol, strategy)
        rules = self._rules.get(name)
        if rules is None:
            if len(self._rules) >= MAX_AT_HAND:
                self._rules.clear()
            rules = rules_for(self._known or self._controls(), account, symbol, strategy)
            self._rules[name] = rules
        return rules

    def _around(self, unit: Unit[RiskRecord]) -> Surroundings:
        """Return what judgements of this batch look at; made once per unit."""
        held = self._surroundings
        if held is not None and held[0] is unit:
            return held[1]
        now_ns, shift_ns = unit.now_ns, self._shift_ns
        resting = self._book(unit.partition)

        def crosses(account: str, terms: OrderTerms) -> Iterator[Crossing]:
            for found in resting.crossing(account, terms):
                order = unit.get(order_key(account, found.order_id))
                if isinstance(order, RiskOrder) and order.live:
                    yield found
                else:
                    resting.drop(account, found.order_id)

        session = self._calendar.session_at(now_ns, shift_ns)
        day = day_of(now_ns - shift_ns)
        around = Surroundings(now_ns, session, shift_ns, self._priced, crosses, day)
        self._surroundings = (unit, around)
        return around

    def _priced(self, symbol: str) -> LastPrice | None:
        """Return the newest price, else the instrument's reference price."""
        newest = self._price(symbol)
        if newest is not None or self._known is None:
            return newest
        return reference_of(self._known.instrument(symbol))

    def _book(self, partition: int) -> RestingOrders:
        book = self._resting.get(partition)
        if book is None:
            book = self._resting[partition] = RestingOrders()
        return book

    def _account(self, unit: Unit[RiskRecord], account: str) -> RiskAccount:
        known = unit.get(account)
        if isinstance(known, RiskAccount):
            return known
        return opened(account, self._rules_of(account, "", "").limits.starting_cash)

    # --- submit -----------------------------------------------------------------------------

    def _submit(self, unit: Unit[RiskRecord], record: Record, command: Submit) -> None:
        known = unit.get(order_key(command.account, command.order_id))
        if isinstance(known, Gone) and record.redelivered:
            self._no_verdict(unit, record)
            return
        if isinstance(known, RiskOrder | Gone) and defences.on(Defence.STORED_VERDICT):
            here = record.partition, record.offset
            if isinstance(known, RiskOrder) and (known.partition, known.offset) == here:
                self._say(unit, known)
            else:
                client = command.client_order_id or command.order_id
                terms = normalise(command)
                content = full_content(terms, trade_content(terms), client, command.strategy)
                self._repeated(unit, record, command, None, content == known.content)
            return
        if record.redelivered and known is None:
            self._no_verdict(unit, record)
            return
        rules = self._rules_of(command.account, command.symbol, command.strategy)
        account = self._account(unit, command.account)
        source = _source(record, command)
        around = self._around(unit)
        account, order = judge_submit(command, source, account, rules, around)
        self._keep(unit, account, order)
        expire(unit, order_key(order.account, order.order_id), order.decided_ns)
        self._say(unit, order)

    def _say(self, unit: Unit[RiskRecord], order: RiskOrder) -> None:
        """Publish an order's verdict; the same each time."""
        if order.verdict == "approved":
            unit.emit(ORDERS_APPROVED, order.account, approved_submit(order))
        unit.emit(ORDERS_EVENTS, order.account, submit_event(order))

    def _repeated(
        self,
        unit: Unit[RiskRecord],
        record: Record,
        command: Submit | Cancel | Replace,
        request_id: str | None,
        same: bool,
    ) -> None:
        source, times = (record.partition, record.offset), (_asked_ns(record, command), unit.now_ns)
        event = repeated_event(command, request_id, same, source, times)
        unit.emit(ORDERS_EVENTS, command.account, event)

    def _no_verdict(self, unit: Unit[RiskRecord], record: Record) -> None:
        text = f"redelivered, and its verdict is gone after {KEEP_DAYS} days; nothing was done"
        unit.dead_letter(record, "NO_VERDICT", text)

    # --- cancel and replace -----------------------------------------------------------------

    def _request(self, unit: Unit[RiskRecord], record: Record, command: Cancel | Replace) -> None:
        name = order_key(command.account, command.order_id)
        found = unit.get(name)
        order = found if isinstance(found, RiskOrder) else None
        request_id = request_id_of(command)
        passed = unit.get(f"{name}|{request_id}")
        here = unit.get(f"{name}|{request_id}@{record.offset}")
        if not isinstance(here, RiskRequest):
            here = passed
        if isinstance(here, RiskRequest) and here.offset == record.offset:
            self._answer(unit, here)
            return
        answered = order is not None and request_id in order.answered
        if isinstance(passed, RiskRequest) and (record.redelivered or not answered):
            same = passed.content == request_content(command)
            self._repeated(unit, record, command, request_id, same)
            return
        if record.redelivered:
            self._no_verdict(unit, record)
            return
        if isinstance(passed, RiskRequest):  # answered, so this is a new attempt
            request_id = f"{request_id}@{record.offset}"
        request = self._judged(unit, record, command, request_id, order)
        if isinstance(found, Gone):
            request = evolve(request, refusal=LEFT)
        refused = request.refusal is not None and request_id == request_id_of(command)
        stored_as = f"{request_id}@{record.offset}" if refused else request_id
        unit.put(f"{name}|{stored_as}", request)
        if order is None:
            expire(unit, name, unit.now_ns)
        self._answer(unit, request)

    def _judged(
        self,
        unit: Unit[RiskRecord],
        record: Record,
        command: Cancel | Replace,
        request_id: str,
        order: RiskOrder | None,
    ) -> RiskRequest:
        symbol, strategy = (order.symbol, order.strategy) if order else ("", "")
        rules = self._rules_of(command.account, symbol, strategy)
        account, source = self._account(unit, command.account), _source(record, command)
        if isinstance(command, Cancel):
            return judge_cancel(command, request_id, source, account, order, rules, unit.now_ns)
        parent = self._order(unit, command.account, order.parent_order_id if order else None)
        around = self._around(unit)
        account, order, request = judge_replace(
            command, request_id, source, account, order, parent, rules, around
        )
        if order is not None:
            self._keep(unit, account, order)
        return request

    def _answer(self, unit: Unit[RiskRecord], request: RiskRequest) -> None:
        """Publish a request's verdict; the same each time."""
        if request.refusal is None:
            unit.emit(ORDERS_APPROVED, request.account, approved_request(request))
        unit.emit(ORDERS_EVENTS, request.account, request_event(request))

    # --- events -----------------------------------------------------------------------------

    def _event(self, unit: Unit[RiskRecord], record: Record, event: OrderEvent) -> None:
        if record.redelivered or event.event_id.startswith(OWN):
            return
        name = order_key(event.account, event.order_id)
        found = unit.get(name)
        if isinstance(found, Gone) and not happened_after(found, event):
            return
        order = found if isinstance(found, RiskOrder) else None
        parent_id = event.parent_order_id or (order.parent_order_id if order else None)
        parent = self._order(unit, event.account, parent_id)
        before = Exposure(self._account(unit, event.account), order, parent)
        after = apply_event(before, event, self._shift_ns)
        if isinstance(after, Contradiction):
            unit.dead_letter(record, after.code, after.text)
        elif after is not None and after.order is not None:
            self._keep(unit, after.account, after.order)
            if after.parent is not None:
                self._keep(unit, after.account, after.parent)
            if order is None:
                expire(unit, name, unit.now_ns)

    def _order(
        self, unit: Unit[RiskRecord], account: str, order_id: str | None
    ) -> RiskOrder | None:
        found = unit.get(order_key(account, order_id)) if order_id else None
        return found if isinstance(found, RiskOrder) else None

    # --- what is kept -----------------------------------------------------------------------

    def _keep(self, unit: Unit[RiskRecord], account: RiskAccount, order: RiskOrder) -> None:
        name = order_key(order.account, order.order_id)
        unit.put(account.account, account)
        unit.put(name, order)
        self._book(unit.partition).update(order)
        known = self._open_in(unit.partition)
        known.account(account)
        known.order(name, order)

    def _open_in(self, partition: int) -> Known:
        known = self._open.get(partition)
        if known is None:
            known = self._open[partition] = Known()
        return known

    def on_timer(self, unit: Unit[RiskRecord]) -> None:
        """Give the commands that kill switches ask for; let go of what is old."""
        self._refresh()
        if self._acting:
            self._enforce(unit)
        if self._sweeps.due(unit):
            sweep(unit, self._sweeps)

    def _enforce(self, unit: Unit[RiskRecord]) -> None:
        controls = self._controls()
        open_here = self._open_in(unit.partition)
        for command in commands(
            self._acting, open_here, unit.get, controls.limits, self._priced, unit.now_ns
        ):
            unit.emit(ORDERS_REQUESTED, command.account, command)

    def on_assigned(self, partition: int, state: Iterable[tuple[str, RiskRecord]]) -> None:
        """Build the indexes of resting orders, and of what is open."""
        book = self._resting[partition] = RestingOrders()
        known = self._open[partition] = Known()
        for name, value in state:
            if isinstance(value, RiskOrder):
                book.update(value)
                known.order(name, value)
            elif isinstance(value, RiskAccount):
                known.account(value)

    def on_batch_end(self, unit: Unit[RiskRecord]) -> None:
        """Let go of the batch."""
        del unit
        self._surroundings = None

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return when the next sweep can find something; a kill switch that acts is never quiet."""
        del partition
        self._refresh()
        return ts_ns if self._acting else self._sweeps.idle_until(ts_ns)

    def on_revoked(self, partition: int) -> None:
        """Forget the partition's indexes."""
        self._resting.pop(partition, None)
        self._open.pop(partition, None)
        self._sweeps.forget(partition)


def _asked_ns(record: Record, command: Submit | Cancel | Replace) -> int:
    """Return when a command was given: its own time, else that of its record."""
    given = command.ts_event_ns
    return record.timestamp_ms * 1_000_000 if given is None else given


def _source(record: Record, command: Submit | Cancel | Replace) -> Source:
    return Source(record.partition, record.offset, _asked_ns(record, command))
