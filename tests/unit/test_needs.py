"""What agents look for in a restored table is in what is encoded today."""

from decimal import Decimal

from agents.positions import Positions
from agents.validator import Validator
from streams.domain.build import evolve, make
from streams.domain.exposure import with_holding
from streams.domain.exposure_models import Holding, RiskAccount, RiskOrder
from streams.domain.positions import PositionState
from streams.transport.codec import encode


def test_the_validator_finds_live_orders() -> None:
    """And no other: most orders of a table are closed."""
    order = make(RiskOrder, account="A1", order_id="o", verdict="approved")
    assert Validator.needs in encode(evolve(order, live=True))
    assert Validator.needs not in encode(order)


def test_the_validator_finds_accounts_that_hold_something() -> None:
    """A kill switch closes their positions, also after a restart."""
    account = make(RiskAccount, account="A1", cash=Decimal(0))
    assert Validator.needs in encode(with_holding(account, "AIG", Holding(qty=Decimal(1))))
    assert Validator.needs not in encode(with_holding(account, "AIG", Holding()))


def test_positions_finds_positions() -> None:
    """By their kind."""
    position = make(PositionState, account="A1", symbol="AIG", qty=Decimal(1))
    assert Positions.needs in encode(position)
