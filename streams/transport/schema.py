"""How Faust sees what the consumer delivers: batches, passed through."""

from typing import Any

import faust


class BatchSchema(faust.Schema[Any, Any]):
    """Passes the batch through; decoding is done where it can fail for one record alone."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return Faust's decode function."""

        async def decode(message: Any, **_: Any) -> Any:
            return app.create_event(None, message.value, message.headers, message)

        return decode
