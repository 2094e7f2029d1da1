"""The views of what is on its way in the orders role: allocations and sliced orders."""

from collections.abc import Iterator
from typing import Any

from streams.domain.allocating.goals import allocation_from
from streams.domain.allocating.rows import Request, request_key
from streams.domain.slicing.parents import sliced_from
from streams.domain.slicing.rows import Parent, parent_key
from streams.transport.table import Table
from streams.web.owner import answered_by_owner
from streams.web.pages import page_of, respond, table_of
from streams.web.problems import ProblemError
from tables.allocations import ALLOCATOR
from tables.slices import SLICES


class _Read:
    """A table as a reader sees it."""

    now_ns = 0

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, key: str) -> Any:
        """Return the row of a key, or None."""
        return self._table.local.get(key)

    def put(self, key: str, value: Any) -> None:
        """Raise: a view changes nothing."""
        raise TypeError(f"a view does not write: {key} {value}")

    def delete(self, key: str) -> None:
        """Raise: a view changes nothing."""
        raise TypeError(f"a view does not write: {key}")


def register(app: Any, role: str) -> None:
    """Add the views to the Faust app of the orders role."""
    pages = {
        "/accounts/{account}/allocations": _allocations,
        "/accounts/{account}/allocations/{allocation_id}": _allocation,
    }
    pages |= {
        "/accounts/{account}/slices": _slices,
        "/accounts/{account}/slices/{parent_id}": _sliced,
    }
    for path, handler in pages.items() if role == "orders" else ():
        app.page(path, name=handler.__name__)(handler)


async def _allocation(view: Any, request: Any, account: str, allocation_id: str) -> Any:
    """Answer one allocation as it stands."""
    table = table_of(view, ALLOCATOR.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    found = table.local.get(request_key(account, allocation_id))
    if not isinstance(found, Request):
        raise ProblemError(404, f"account {account} has no allocation {allocation_id}, or it left")
    return respond(allocation_from(_Read(table), found))


async def _allocations(view: Any, request: Any, account: str) -> Any:
    """Answer an account's allocations."""
    table = table_of(view, ALLOCATOR.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    return respond(page_of(_allocations_of(table, account), request))


def _allocations_of(table: Table, account: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, row in table.local.scan(request_key(account, "")):
        if isinstance(row, Request):
            found = allocation_from(_Read(table), row)
            body = found.model_dump(mode="json", exclude_none=True)
            yield found.allocation_id, body | {"symbols": len(found.order_fill)}


async def _sliced(view: Any, request: Any, account: str, parent_id: str) -> Any:
    """Answer one sliced order as it stands."""
    table = table_of(view, SLICES.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    found = table.local.get(parent_key(account, parent_id))
    if not isinstance(found, Parent):
        raise ProblemError(404, f"account {account} has no sliced order {parent_id}, or it left")
    return respond(sliced_from(found))


async def _slices(view: Any, request: Any, account: str) -> Any:
    """Answer an account's sliced orders."""
    table = table_of(view, SLICES.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    rows = (row for _, row in table.local.scan(parent_key(account, "")) if isinstance(row, Parent))
    return respond(page_of(((row.start.parent_id, sliced_from(row)) for row in rows), request))
