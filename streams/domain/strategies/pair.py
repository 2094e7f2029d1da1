"""One strategy on one symbol, and what keeps its failures from everything else.

What a strategy raises, returns or takes too long for ends in its row's status, never in an
exception: a strategy that raised has a state that nobody can vouch for, so it stops at once and
begins anew when its control is set. Time is measured with the clock that the caller gives.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from pydantic import ValidationError

from streams.domain.build import evolve, make
from streams.domain.decimals import ZERO
from streams.domain.matching.ledger import long_id
from streams.domain.strategies.config import Config, first_flaw
from streams.domain.strategies.protocol import AnyStrategy, Callback, Context, Decision
from streams.domain.strategies.rows import StrategyRow
from streams.models.signals import Signal

#: More decisions on one event are an error of the strategy.
MAX_DECISIONS = 10
#: Bytes of a state as JSON. Its row is a record of a topic, which has a limit of its own.
MAX_STATE_BYTES = 200_000
#: Ids of fills that are remembered, to tell repetitions.
KNOWN_FILLS = 64
#: A strategy is stopped when so many of the calls of a window were over the budget, or when those
#: that were took so many seconds.
WINDOW, SLOW_CALLS, SLOW_S = 100, 10, 1.0

Clock = Callable[[], float]
Known = Mapping[str, AnyStrategy]


class Cause(NamedTuple):
    """The record that is decided on. By the timer: no topic, and the version as its offset."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Pace:
    """How long calls take, over a window of them."""

    budget_s: float
    calls: int = 0
    slow: int = 0
    slow_s: float = 0.0

    def too_slow(self, took_s: float) -> bool:
        """Count a call; return whether there were too many slow ones."""
        if self.calls >= WINDOW:
            self.calls, self.slow, self.slow_s = 0, 0, 0.0
        self.calls += 1
        if took_s <= self.budget_s:
            return False
        self.slow, self.slow_s = self.slow + 1, self.slow_s + took_s
        return self.slow >= SLOW_CALLS or self.slow_s > SLOW_S


@dataclass(slots=True)
class Pair:
    """A strategy on a symbol. Without `strategy` it does not run.

    `changed`: the row is to be stored; `told`: it is to be published as well, as a new version.
    """

    row: StrategyRow
    pace: Pace
    strategy: AnyStrategy | None = None
    params: Any = None
    state: Any = None
    wants: frozenset[Callback] = field(default_factory=frozenset)
    changed: bool = False
    told: bool = False

    def fail(self, text: str, *, errors: int = 0) -> None:
        """End it with what is wrong."""
        self._end("failed", text, errors=errors)

    def stop(self, text: str, *, unwanted: bool = False) -> None:
        """End it with the reason."""
        self._end("stopped", text, unwanted=unwanted)

    def _end(self, status: str, text: str, *, errors: int = 0, unwanted: bool = False) -> None:
        row = self.row
        text = text[:1000].encode(errors="replace").decode()  # half characters cannot be published
        self.row = evolve(
            row, status=status, text=text, errors=row.errors + errors, unwanted=unwanted
        )
        self.strategy, self.wants = None, frozenset()
        self.changed = self.told = True

    def attach(self, known: Known, state: str = "") -> None:
        """Make it run by its row's implementation and parameters, from a state or from the start.

        It fails, with the reason in its row, where one of these is not there or not right.
        """
        row = self.row
        strategy = known.get(row.implementation)
        if strategy is None:
            names = ", ".join(sorted(known))
            self.fail(f"there is no implementation {row.implementation!r}; there are {names}")
            return
        try:
            self.params = strategy.params.model_validate(row.params)
            self.state = strategy.state.model_validate_json(state) if state else strategy.state()
            self.strategy, self.wants = strategy, frozenset(strategy.wants)
        except ValidationError as error:
            what = f"the stored state, {error.title}" if state else "the parameters"
            self.fail(f"{what}: {first_flaw(error)}")
        except BaseException as error:  # noqa: BLE001 - code of users
            self.fail(f"it could not begin: {said(error)}", errors=1)

    def is_new(self, callback: Callback, event: Any) -> bool:
        """Return whether an event was not heard of before: restated bars and repetitions were."""
        row = self.row
        if callback in ("bar", "indicator"):
            lane = event.frame if callback == "bar" else f"{event.frame} {event.name}"
            if event.rev > 1 or event.ts_start_ns <= row.heard.get(lane, -1):
                return False
            self.row = evolve(row, heard={**row.heard, lane: event.ts_start_ns})
        elif callback == "fill":
            if event.event_id in row.fills:
                return False
            self.row = evolve(row, fills=(*row.fills, event.event_id)[-KNOWN_FILLS:])
        self.changed = True
        return True

    def call(
        self, callback: Callback, given: Sequence[Any], at_ns: int, clock: Clock
    ) -> list[Decision]:
        """Return what it decides on an event of that market time; nothing if it fails."""
        strategy = self.strategy
        row = self.row
        context = Context(row.symbol, self.params, at_ns, row.strength or ZERO)
        began = clock()
        try:
            state, decisions = getattr(strategy, f"on_{callback}")(self.state, *given, context)
            found = list(islice(decisions, MAX_DECISIONS + 1))
            if not isinstance(state, type(self.state)):
                raise TypeError(f"it returned {type(state).__name__} as its state")  # noqa: TRY301
            if len(found) > MAX_DECISIONS:
                raise ValueError(f"more than {MAX_DECISIONS} decisions")  # noqa: TRY301
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - code of users, native code included
            self.fail(f"on_{callback}: {said(error)}", errors=1)
            return []
        took_s = clock() - began
        if state is not self.state:
            self.state, self.changed = state, True
        if self.pace.too_slow(took_s):
            self.stop(self._too_slow(callback, took_s))
        return found

    def _too_slow(self, callback: str, took_s: float) -> str:
        pace = self.pace
        return (
            f"too slow: {pace.slow} of {pace.calls} calls took longer than "
            f"{pace.budget_s * 1000:g} ms, the last one, on_{callback}, {took_s * 1000:.1f} ms"
        )

    def signals(
        self, decisions: Sequence[Decision], cause: Cause, at_ns: int, now_ns: int
    ) -> tuple[Signal, ...]:
        """Return the signals of decisions, with ids that follow from their cause."""
        if not decisions:
            return ()
        try:
            made = tuple(
                self._signal(decision, cause, number, at_ns, now_ns)
                for number, decision in enumerate(decisions)
            )
        except ValidationError as error:
            self.fail(f"its decision: {first_flaw(error)}", errors=1)
            return ()
        except BaseException as error:  # noqa: BLE001 - what users return
            self.fail(f"its decision: {said(error)}", errors=1)
            return ()
        self.row = evolve(
            self.row,
            signals=self.row.signals + len(made),
            strength=made[-1].strength,
            ts_signal_ns=made[-1].ts_event_ns,
        )
        self.changed = self.told = True
        return made

    def _signal(
        self, decision: Decision, cause: Cause, number: int, at_ns: int, now_ns: int
    ) -> Signal:
        row, (topic, partition, offset) = self.row, cause
        return Signal(
            signal_id=long_id(
                row.strategy, row.symbol, topic or "timer", partition, offset, number
            ),
            strategy=row.strategy,
            symbol=row.symbol,
            strength=decision.strength,
            price=decision.price,
            reason=decision.reason[:256],
            cause_topic=topic,
            cause_partition=partition if topic else 0,
            cause_offset=offset if topic else 0,
            ts_event_ns=at_ns,
            ts_init_ns=now_ns,
        )

    def stored(self, now_ns: int) -> StrategyRow:
        """Return the row as it is to be stored; a state that cannot be stored fails."""
        if self.strategy is not None:
            try:
                text = self.state.model_dump_json()
                if len(text.encode()) > MAX_STATE_BYTES:
                    raise ValueError(f"it is larger than {MAX_STATE_BYTES} bytes")  # noqa: TRY301
                self.row = evolve(self.row, state=text)
            except BaseException as error:  # noqa: BLE001 - a model of users
                self.fail(f"its state: {said(error)}", errors=1)
        if self.told:
            self.row = evolve(self.row, version=self.row.version + 1, ts_updated_ns=now_ns)
        self.changed = self.told = False
        return self.row


def begun(
    config: Config, symbol: str, before: StrategyRow | None, pace: Pace, known: Known
) -> Pair:
    """Return a strategy that begins anew on a symbol; counts and what was heard of go on."""
    said_of = config.said
    row = make(
        StrategyRow,
        strategy=config.name,
        symbol=symbol,
        implementation=said_of.implementation,
        status="running",
        version=before.version if before else 0,
        controls_version=said_of.version,
        params=dict(said_of.params),
        signals=before.signals if before else 0,
        errors=before.errors if before else 0,
        strength=before.strength if before else None,
        ts_signal_ns=before.ts_signal_ns if before else None,
        heard=before.heard if before else {},
        fills=before.fills if before else (),
        ts_updated_ns=0,
    )
    pair = Pair(row, pace, changed=True, told=True)
    if config.flaw:
        pair.fail(config.flaw)
    elif not said_of.enabled:
        pair.stop(DISABLED, unwanted=True)
    else:
        pair.attach(known)
    return pair


#: Texts of strategies that nobody wants to run.
DISABLED = "it is disabled"
NOT_CONFIGURED = "no setting and no control says that it is to run on this symbol"


def said(error: BaseException) -> str:
    """Return an exception and where it was raised, in one line."""
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" at {code.co_filename.replace(chr(92), '/').rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{place}"
