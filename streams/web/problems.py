"""Every error as `application/problem+json` (RFC 9457), whoever raised it."""

from http import HTTPStatus
from typing import Any

import orjson
import structlog
from aiohttp import web

log = structlog.get_logger(__name__)


class ProblemError(Exception):
    """An answer other than 2xx. `detail` says what, with which values, what to do."""

    def __init__(self, status: int, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.extra = extra

    def response(self, request: web.Request) -> web.Response:
        """Return the problem as a response."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": request.path,
            **self.extra,
        }
        response = web.Response(
            body=orjson.dumps(body), status=self.status, content_type="application/problem+json"
        )
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers["Retry-After"] = "1"
        return response


@web.middleware
async def problems(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn what a view raises into a problem."""
    try:
        response: web.StreamResponse = await handler(request)
    except ProblemError as problem:
        return problem.response(request)
    except web.HTTPException as error:
        allowed = error.headers.get("Allow")
        detail = f"{request.method} {request.path}: {error.reason}" + (
            f"; allowed: {allowed}" if allowed else "; GET /topology lists what there is"
        )
        answer = ProblemError(error.status, detail).response(request)
        if allowed:
            answer.headers["Allow"] = allowed
        return answer
    except Exception:
        log.exception("view_failed", path=request.path)
        return ProblemError(500, "the view failed; the worker's log has the reason").response(
            request
        )
    return response
