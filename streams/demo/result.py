"""What a run of the demo is asked for, and how it ended."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.errors import IncompleteError

if TYPE_CHECKING:
    from streams.demo.summary import Summary

MISSING_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is asked for. `orders`: new order ids; `rate`: of them, per second."""

    orders: int
    rate: float
    seed: int
    accounts: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended. `missing` is empty if everything is accounted for."""

    run: str
    accounts: tuple[str, ...]
    summary: "Summary"
    strategy: dict[str, Any]
    seed: int
    shift_ns: int
    elapsed_s: float
    first_fill_s: float | None
    missing: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints.

        `elapsed_s` is from the first order sent until every order was accounted for;
        `orders_per_s` is over that time. `first_fill_s` counts from the start of the command.
        """
        found = self.summary.as_json()
        return {
            **found,
            "strategy": self.strategy,
            "elapsed_s": round(self.elapsed_s, 3),
            "orders_per_s": round(found["orders"] / self.elapsed_s, 1) if self.elapsed_s else 0.0,
            "first_fill_s": None if self.first_fill_s is None else round(self.first_fill_s, 3),
            "accounted": not self.missing,
            "missing": list(self.missing[:MISSING_SHOWN]),
            "run": self.run,
            "accounts": len(self.accounts),
            "seed": self.seed,
            "shift_ns": self.shift_ns,
        }

    def check(self) -> None:
        """Raise IncompleteError if anything is missing."""
        if self.missing:
            more = len(self.missing) - MISSING_SHOWN
            shown = [*self.missing[:MISSING_SHOWN], *([f"and {more} more"] if more > 0 else [])]
            raise IncompleteError(
                f"{len(self.missing)} things are not accounted for:"
                + "".join(f"\n  {line}" for line in shown)
            )
