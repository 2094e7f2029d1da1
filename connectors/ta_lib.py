"""TA-Lib's functions as indicators, by its streaming handles, where the package is installed.

`ta_adx(14)` is ADX with a period of 14. A handle cannot be stored, so the state is the bars that
it was opened on and has been given since, and a handle that is not at hand is opened on those: it
says what the batch function says of the same bars, to the last bit. When they are twice as many as
are needed, the older half goes. What remembers for ever, as an exponential mean does, so forgets
what is ten warm-ups old; what adds up from the first bar on begins anew there.
"""

import importlib
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from streams.domain.indicators.asked import FOREIGN, named
from streams.domain.indicators.rules import ONE, Kept, Rule, State, Values

#: Bars that are kept at least: so many times the function's warm-up, and never fewer than 100.
WARM_UPS: Final = 10
MIN_BARS: Final = 100
#: The longest warm-up: its bars are stored with each series.
MAX_WARM_UP: Final = 100
#: Handles at hand, of each indicator.
MAX_HANDLES: Final = 2_000

_COLUMNS = ("open", "high", "low", "close", "volume")


def rule_of(name: str, numbers: tuple[float, ...]) -> Rule:
    """Return a function of TA-Lib as a rule; raises ValueError if there is none such."""
    wanted = named(name, numbers)
    try:
        talib, abstract, stream, numpy = (
            importlib.import_module(one)
            for one in ("talib", "talib.abstract", "talib.stream", "numpy")
        )
    except ImportError:
        raise ValueError(
            f"{wanted} needs TA-Lib; install the package TA-Lib, 0.8.1 or newer"
        ) from None
    function, opener = _function(abstract, stream, name, wanted)
    params = _params(function, numbers, wanted)
    columns = _columns(function, wanted)
    warm_up = _warm_up(function, params, wanted)
    open_on = partial(_opened, numpy.array, partial(opener, **params), len(columns))
    outputs = tuple(function.output_names) if len(function.output_names) > 1 else ONE
    step = _stepping(open_on, columns, warm_up, talib.InsufficientHistory)
    return Rule(wanted, outputs, (), step)


def _function(abstract: Any, stream: Any, name: str, wanted: str) -> tuple[Any, Any]:
    upper = name.removeprefix(FOREIGN).upper()
    opener = getattr(stream, upper, None)
    if opener is None or not hasattr(opener, "update"):
        raise ValueError(f"{wanted}: TA-Lib has no function {upper} that can be streamed")
    return abstract.Function(upper), opener


def _params(function: Any, numbers: tuple[float, ...], wanted: str) -> dict[str, float]:
    """Return the parameters that are given, by name, in TA-Lib's order."""
    usual: Mapping[str, Any] = function.parameters
    if len(numbers) > len(usual):
        raise ValueError(f"{wanted}: it takes {len(usual)} parameters: {', '.join(usual)}")
    params: dict[str, float] = {}
    for (key, default), number in zip(usual.items(), numbers, strict=False):
        whole = isinstance(default, int)
        if whole and number != int(number):
            raise ValueError(f"{wanted}: {key} is a whole number")
        params[key] = int(number) if whole else number
    return params


def _columns(function: Any, wanted: str) -> tuple[int, ...]:
    """Return the places in a bar of what the function is given."""
    names: list[str] = []
    for given in function.input_names.values():
        names += [given] if isinstance(given, str) else given
    unknown = [name for name in names if name not in _COLUMNS]
    if unknown:
        raise ValueError(f"{wanted}: a bar has no {', '.join(unknown)}")
    return tuple(Kept._fields.index(name) for name in names)


def _warm_up(function: Any, params: dict[str, float], wanted: str) -> int:
    try:
        function.parameters = params
        warm_up = int(function.lookback)
    except Exception as error:  # noqa: BLE001 - TA-Lib raises Exception itself
        raise ValueError(f"{wanted}: {error}") from None
    if not 0 <= warm_up <= MAX_WARM_UP:
        raise ValueError(f"{wanted}: it warms up for {warm_up} bars, at most {MAX_WARM_UP} may be")
    return warm_up


def _opened(array: Any, opener: Callable[..., Any], width: int, state: State) -> Any:
    return opener(*(array(state[column::width], dtype="float64") for column in range(width)))


def _stepping(
    open_on: Callable[[State], Any],
    columns: tuple[int, ...],
    warm_up: int,
    insufficient: type[Exception],
) -> Callable[[State, Kept], tuple[State, Values | None]]:
    """Return the step. State: what the function is given, bar after bar."""
    half = len(columns) * max(WARM_UPS * warm_up, MIN_BARS)
    least = len(columns) * (warm_up + 1)
    #: By the state that they are at; it is kept too, so that no other one has its id.
    handles: OrderedDict[int, tuple[State, Any]] = OrderedDict()

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        given = tuple([bar[column] for column in columns])
        if None in given:
            return state, None
        handle = None
        if len(state) >= 2 * half:
            state = state[-half:]
        else:
            _, handle = handles.pop(id(state), (None, None))
        state = (*state, *given)
        if handle is not None:
            found = handle.update(*given)
        elif len(state) < least:
            return state, None
        else:
            try:
                handle = open_on(state)
            except insufficient:
                return state, None
            found = handle.value
        handles[id(state)] = state, handle
        if len(handles) > MAX_HANDLES:
            handles.popitem(last=False)
        values = tuple(map(float, found)) if isinstance(found, tuple) else (float(found),)
        return state, values if all(map(math.isfinite, values)) else None

    return step
