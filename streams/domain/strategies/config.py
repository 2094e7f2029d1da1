"""Which strategies there are: what the settings say, and the controls that hold instead."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from streams.domain.controls import ControlSet
from streams.models.controls import StrategyControl

#: What a strategy's table in the settings can say of it; everything else is a parameter.
WORDS = frozenset(StrategyControl.model_fields) - {
    *("schema_version", "kind", "scope", "version", "ts_event_ns", "by", "reason", "params")
}


class Config(NamedTuple):
    """One strategy as it is to run. `flaw` says why it cannot, if that is so.

    `said.version` is that of its control; 0: it has none. Without `implementation` another program
    is the strategy, and its signals are sized here.
    """

    name: str
    said: StrategyControl
    flaw: str = ""

    @property
    def is_ours(self) -> bool:
        """Return whether the strategies agent runs it."""
        return bool(self.said.implementation or self.flaw)

    def covers(self, symbol: str) -> bool:
        """Return whether it is for a symbol; one that names none is for all."""
        return not self.said.symbols or symbol in self.said.symbols


Configs = Mapping[str, Config]


def configs_of(settings: Mapping[str, Mapping[str, Any]], controls: ControlSet) -> Configs:
    """Return every strategy of the settings and the controls, by name and in its order."""
    found = {name: _of_settings(name, words) for name, words in settings.items()}
    for control in controls.strategies():
        found[control.scope] = _merged(control, found.get(control.scope))
    return MappingProxyType({name: found[name] for name in sorted(found)})


def unmade_frame(
    configs: Configs, known: Mapping[str, Any], frames_of: Callable[[str], str]
) -> str | None:
    """Return what is wrong if a strategy looks at bars that nobody makes.

    That is, if its parameter `frame` is not among the frames of one of its symbols; of one without
    symbols those of any symbol that has none of its own (`frames_of("")`).
    """
    for name, config in configs.items():
        strategy = known.get(config.said.implementation)
        field = strategy.params.model_fields.get("frame") if strategy is not None else None
        if field is None:
            continue
        frame = config.said.params.get("frame", field.default)
        for symbol in config.said.symbols or ("",):
            if frame not in frames_of(symbol).split():
                made = frames_of(symbol)
                return f"strategy {name} looks at bars of {frame}; the setting `bars` makes {made}"
    return None


def _of_settings(name: str, words: Mapping[str, Any]) -> Config:
    texts = {word: _text(value) for word, value in words.items()}
    said: dict[str, Any] = {word: text for word, text in texts.items() if word in WORDS}
    said["params"] = {word: text for word, text in texts.items() if word not in WORDS}
    if "symbols" in said:
        said["symbols"] = tuple(said["symbols"].split())
    try:
        return Config(name, StrategyControl.model_validate({**said, "scope": name}))
    except ValidationError as error:
        return Config(name, StrategyControl(scope=name), f"the settings: {first_flaw(error)}")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _merged(control: StrategyControl, settings: Config | None) -> Config:
    """Return what a control says, and where it says nothing, what the settings do."""
    below = settings.said if settings is not None else StrategyControl(scope=control.scope)
    sized = control if control.qty is not None or control.notional is not None else below
    said = control.model_copy(
        update={
            "implementation": control.implementation or below.implementation,
            "symbols": control.symbols or below.symbols,
            "account": control.account or below.account,
            "params": {**below.params, **control.params},
            "qty": sized.qty,
            "notional": sized.notional,
        }
    )
    return Config(control.scope, said, settings.flaw if settings is not None else "")


def first_flaw(error: ValidationError) -> str:
    """Return the first thing that a model did not take, in words."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    return f"{path}: {first['msg']}" if path else str(first["msg"])
