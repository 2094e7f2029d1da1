"""One run from one seed: a history, a plan of faults, and what of it does not hold."""

from dataclasses import dataclass, field, replace
from random import Random

from tests.simulation import faults
from tests.simulation.check import violations
from tests.simulation.faults import Fault
from tests.simulation.load import Input, history, with_brackets
from tests.simulation.world import World

#: Every so many runs the values go through their JSON, as between processes.
ENCODED_EVERY = 41
#: And in every so many some orders have exits.
BRACKETS_EVERY = 4
#: And in every so many there is a broker across a network beside the virtual venue.
NETWORK_EVERY = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run consists of; all of it follows from the seed."""

    seed: int
    inputs: tuple[Input, ...]
    faults: tuple[Fault, ...]
    steps: int


@dataclass(slots=True)
class Outcome:
    """What a run came to. `events` counts records of the history of record."""

    plan: Plan
    found: list[str]
    told: list[str]
    crashes: int = 0
    redelivered: int = 0
    events: int = 0
    inputs: list[Input] = field(default_factory=list)

    @property
    def invariant(self) -> str:
        """Return the name of the first invariant that does not hold, or an empty text."""
        return self.found[0].split(":")[0] if self.found else ""


def plan_of(seed: int) -> Plan:
    """Return the plan of a seed."""
    rng = Random(f"plan {seed}")
    network = has_network(seed)
    inputs = history(rng, network=network)
    if seed % BRACKETS_EVERY == BRACKETS_EVERY - 1:
        inputs = with_brackets(inputs, Random(f"brackets {seed}"))
    steps = (60 if network else 30) + 6 * len(inputs)
    return Plan(seed, tuple(inputs), tuple(faults.plan(rng, steps, network=network)), steps)


def has_network(seed: int) -> bool:
    """Say whether a seed's run has a broker across a network."""
    return seed % NETWORK_EVERY == 1


def play(plan: Plan) -> Outcome:
    """Play a plan to its end and check what it left."""
    rng = Random(f"play {plan.seed}")
    broker = Random(f"broker {plan.seed}") if has_network(plan.seed) else None
    encoded = plan.seed % ENCODED_EVERY == 0
    world = World(list(plan.inputs), rng, encoded=encoded, broker=broker)
    waiting = list(plan.faults)
    for step in range(plan.steps):
        while waiting and waiting[0].at <= step:
            faults.play(world, waiting.pop(0))
        world.step()
    try:
        world.quiet()
        found = violations(world)
    except RuntimeError as error:
        found = [f"rest: {error}"]
    finally:
        world.end()
    workers = [worker for role in world.workers.values() for worker in role]
    return Outcome(
        plan=plan,
        found=found,
        told=world.told,
        crashes=world.crashes,
        redelivered=sum(worker.redelivered for worker in workers),
        events=len(world.kafka.all_of("orders.events.v1")),
        inputs=world.pushed,
    )


def reduced(plan: Plan, invariant: str) -> Outcome:
    """Return the outcome of the smallest part of a plan that breaks the same invariant."""
    best, smaller = play(plan), True
    while smaller:
        smaller = False
        for part in _parts(best.plan):
            outcome = play(part)
            if outcome.invariant == invariant:
                best, smaller = outcome, True
                break
    return best


def _parts(plan: Plan) -> list[Plan]:
    without_fault = [
        replace(plan, faults=plan.faults[:place] + plan.faults[place + 1 :])
        for place in range(len(plan.faults))
    ]
    without_input = [
        replace(plan, inputs=plan.inputs[:place] + plan.inputs[place + 1 :])
        for place in range(len(plan.inputs))
    ]
    return without_fault + without_input


def explain(outcome: Outcome) -> str:
    """Return what happened in a run that failed, in a few lines."""
    lines = [f"seed {outcome.plan.seed}", *(f"  {text}" for text in outcome.found[:5])]
    lines += ["inputs:", *(f"  {given}" for given in outcome.inputs)]
    lines += ["faults:", *(f"  {text}" for text in outcome.told)]
    return "\n".join(lines)
