"""What was found wrong with a run, and how it is told."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["lost", "sent_twice", "counted_twice", "unaccounted"]
SHOWN = 5


class Violation(NamedTuple):
    """Something that must not be, and where to look."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Verdict:
    """What was found wrong, by kind."""

    violations: tuple[Violation, ...]

    def count(self, kind: Kind) -> int:
        """Return how many violations of a kind there are."""
        return sum(1 for one in self.violations if one.kind == kind)

    def counts(self) -> dict[str, int]:
        """Return the number of violations of every kind."""
        kinds: tuple[Kind, ...] = ("lost", "sent_twice", "counted_twice", "unaccounted")
        return {kind: self.count(kind) for kind in kinds}

    def explanations(self, at_most: int = SHOWN) -> list[str]:
        """Return the first few violations of each kind, a line each."""
        shown: Counter[str] = Counter()
        lines = []
        for kind, text in self.violations:
            shown[kind] += 1
            if shown[kind] <= at_most:
                lines.append(f"{kind}: {text}")
        return lines


def at(place: tuple[str, int, int]) -> str:
    """Return a place as people write it."""
    return f"{place[0]} {place[1]}:{place[2]}"
