"""The embedded Kafka's own pieces."""

from streams.dev.kafka import new_cluster_id


def test_a_cluster_id_never_looks_like_an_option() -> None:
    """The storage tool would take one that begins with `-` for an option and refuse to format."""
    draws = iter([b"\xf8" + bytes(15), b"\xfb" + bytes(15), b"\x01" + bytes(15)])
    assert new_cluster_id(lambda _: next(draws)) == "AQAAAAAAAAAAAAAAAAAAAA"
