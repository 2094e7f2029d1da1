"""Undo the compression of a request's body, in every encoding that ClickHouse takes."""

from collections.abc import Callable
from typing import Any

import cramjam

from streams.dev.clickhouse_sql import ClickHouseError

_NOT_IMPLEMENTED = 48
_CANNOT_DECOMPRESS = 271


def decoded(body: bytes, encoding: str) -> bytes:
    """Return the body as it was before `Content-Encoding: encoding`."""
    name = encoding.strip().lower()
    if not body or name in ("", "identity"):
        return body
    decode = _DECODERS.get(name)
    if decode is None:
        raise ClickHouseError(_NOT_IMPLEMENTED, f"Unknown compression method {encoding}")
    try:
        return bytes(decode(body))
    except cramjam.DecompressionError as error:
        raise ClickHouseError(_CANNOT_DECOMPRESS, f"the body is not {name}: {error}") from None


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "gzip": cramjam.gzip.decompress,
    "deflate": cramjam.zlib.decompress,  # HTTP's `deflate` has zlib's head and tail
    "lz4": cramjam.lz4.decompress,
    "zstd": cramjam.zstd.decompress,
    "br": cramjam.brotli.decompress,
}
