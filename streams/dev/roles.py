"""Ask a role's worker whether it does its work."""

import json
import urllib.error
import urllib.request

from streams.dev.service import NotReadyError

TIMEOUT_S = 2.0


def probe(host: str, port: int) -> str:
    """Return `ready` once the worker's `/health/ready` says so; raise NotReadyError before."""
    url = f"http://{host}:{port}/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return "ready"
    except urllib.error.HTTPError as error:
        raise NotReadyError(_detail(error)) from None
    except OSError as error:
        raise NotReadyError(f"nothing answers at {url}: {error}") from None


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError):
        return f"{error.url} answers {error.code}"
