"""A gate that many pass at once, and now and then one alone."""

import asyncio


class Gate:
    """Lets everyone in, unless somebody is in alone or waits to be.

    Waiting to be alone keeps newcomers out, so that it ends when those who are in have left.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._wanting = 0
        self._alone = False
        self._changed = asyncio.Event()

    async def enter(self, *, alone: bool) -> None:
        """Return when the caller may be in; `leave` must follow."""
        self._wanting += alone
        try:
            while self._alone or (self._inside if alone else self._wanting):
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._wanting -= alone
            self._changed.set()
        self._inside += 1
        self._alone = alone

    def leave(self) -> None:
        """Let those in who wait."""
        self._inside -= 1
        self._alone = False
        self._changed.set()
