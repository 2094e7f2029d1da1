"""What goes wrong in a run: a plan that follows from the seed, and how each fault is played.

- `crash`: a process dies. Of what waited for each partition of each topic a prefix survives,
  each for itself; the changes of a unit are one record batch and survive whole or not at all.
  It starts again on its disk, or on an empty one.
- `takeover`: the same, but another process of the role takes the partitions over; the dead one
  may come back later and get some again.
- `zombie`: a process stands still with work under way, another one takes over, and then it goes
  on. With the defence FENCE it dies there; but records that had left it may still arrive late.
- `rebalance`: partitions move while all is well.
- `outage`: all processes of a role die and stay away for minutes.
- `again`: a user's client sends its last command once more.
- `away`: the broker across a network can hardly be reached for seconds, in runs that have one.
- `midcall`: there a process of the gateway fails in one of the ways above while it sends an order.
"""

from dataclasses import dataclass, replace
from random import Random

from streams import defences
from streams.defences import Defence
from streams.wiring import Role
from tests.builders import SECOND
from tests.simulation.desks import Outside
from tests.simulation.worker import Worker
from tests.simulation.world import World

KINDS = ("crash", "crash", "crash", "takeover", "zombie", "rebalance", "outage", "again")
#: And in runs with a broker across a network.
NETWORK_KINDS = (*KINDS, "away", *("midcall",) * 7)
#: After an outage what was not sent is too old to be.
WHILE_CALLING = ("crash", "takeover", "zombie", "outage", "outage", "outage")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, before the scheduler's step `at`. `luck` seeds what is left to chance in it."""

    at: int
    kind: str
    role: Role
    worker: int
    luck: int

    def __str__(self) -> str:
        return f"step {self.at}: {self.kind} of {self.role}-{self.worker}"


def plan(rng: Random, steps: int, *, network: bool = False) -> list[Fault]:
    """Return the faults of a run, in order of time."""
    count = min(1 + int(rng.expovariate(0.6)), 6)
    faults = [
        Fault(
            at=rng.randrange(steps * 2 // 3 if network else steps),
            kind=rng.choice(NETWORK_KINDS if network else KINDS),
            role=rng.choice(("orders", "gateway") if network else ("orders", "orders", "gateway")),
            worker=rng.randrange(2),
            luck=rng.randrange(2**32),
        )
        for _ in range(count)
    ]
    return sorted(faults, key=lambda fault: fault.at)


def play(world: World, fault: Fault) -> None:
    """Let a fault happen; what came of it is told in `world.told`."""
    rng = Random(fault.luck)
    if fault.kind == "again":
        _again(world, fault)
        return
    if fault.kind == "away":
        _away(world, fault, rng)
        return
    if fault.kind == "midcall":
        _midcall(world, fault, rng)
        return
    workers = world.workers[fault.role]
    worker = workers[fault.worker]
    if not (worker.alive and worker.owned):
        worker = workers[1 - fault.worker]
    if not (worker.alive and worker.owned):
        return  # nobody is there to fail
    other = workers[1 - workers.index(worker)]
    if fault.kind == "rebalance":
        world.told.append(str(fault))
        _join(world, other)
        return
    world.crashes += 1
    if fault.kind == "zombie":
        world.told.append(f"{fault}: {_stand_still(world, worker, rng)}")
        _join(world, other)
    elif fault.kind == "outage":
        _outage(world, fault, workers, rng)
    else:
        _crash(world, fault, worker, rng)
        if fault.kind == "takeover":
            _join(world, other)


def _again(world: World, fault: Fault) -> None:
    last = next((one for one in reversed(world.pushed) if one.kind == "command"), None)
    if last is not None:
        world.told.append(f"step {fault.at}: sent again: {last}")
        world.push(last)


def _away(world: World, fault: Fault, rng: Random) -> None:
    if world.exchange is not None:
        seconds = rng.choice((1, 3, 10))
        world.exchange.away_until_ns = world.now_ns + seconds * SECOND
        world.told.append(f"step {fault.at}: the broker is away for {seconds} s")


def _midcall(world: World, fault: Fault, rng: Random) -> None:
    """Wait for the next call of an order, and a little more."""
    exchange = world.exchange
    if exchange is None:
        return
    before, last = exchange.submits, world.steps + 300
    kind, late = rng.choice(WHILE_CALLING), rng.randint(0, 8)

    def look() -> None:
        if exchange.submits == before and world.steps < last:
            world.later(1, look)
        else:
            world.later(late, lambda: play(world, replace(fault, kind=kind, role="gateway")))

    look()


def _join(world: World, other: Worker) -> None:
    if not other.alive:
        world.start(other)
    world.spread(other.role)


def _crash(world: World, fault: Fault, worker: Worker, rng: Random) -> None:
    owned = worker.owned
    if rng.random() < 0.4:  # the last thing that it did
        worker.commit()
    survived = worker.break_off(rng)
    wiped = rng.random() < 0.3
    if wiped:
        worker.wipe()
    disk = ", its disk is lost" if wiped else ""
    world.told.append(f"{fault}{disk}; appended before it died: {survived}")
    world.later(rng.randint(1, 30), lambda: world.back(worker, owned))


def _outage(world: World, fault: Fault, workers: list[Worker], rng: Random) -> None:
    for worker in workers:
        if worker.alive:
            _crash(world, fault, worker, rng)
    away_s = rng.randint(65, 130)
    world.told.append(f"{fault.role} is away for {away_s} s")
    world.now_ns += away_s * SECOND


def _stand_still(world: World, worker: Worker, rng: Random) -> str:
    """Stop a process; what waits in it may come later: all of it only without its fence."""
    waiting = worker.take_outbox()
    owned = worker.owned
    ghost, worker.desks = worker.desks, None
    if ghost is not None:
        ghost.stand_still(Outside())
        world.ghosts.append(ghost)
    worker.die()
    fenced = defences.on(Defence.FENCE)
    late = [(tp, p) for tp, p in waiting if p.out is not None or not fenced]
    if fenced:  # what had left it before
        late = late[: rng.randint(0, len(late))]

    def arrive() -> None:
        for tp, parcel in late:
            worker._append(tp, parcel, acknowledged=not fenced)
        if ghost is not None:
            ghost.go_on()
            world.later(rng.randint(1, 20), ghost.end)

    world.later(rng.randint(1, 40), arrive)
    world.later(rng.randint(1, 60), lambda: world.back(worker, owned))
    return f"{len(late)} of {len(waiting)} records arrive later"
