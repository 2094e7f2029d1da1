"""Where a record of an account belongs: under the account's key, on its partition."""

from collections.abc import Callable


def misplaced(
    key: bytes | None, partition: int, account: str, partition_of: Callable[[str], int]
) -> tuple[str, str] | None:
    """Return code and text of what is wrong with a record's place, or None."""
    if key is None:
        return "NO_KEY", f"the record key must be the account, {account}"
    if key != account.encode():
        return "KEY_MISMATCH", f"key {key[:80]!r}, account {account}; they must be equal"
    expected = partition_of(account)
    if expected != partition:
        text = f"account {account} belongs on {expected}, came on {partition}"
        return "WRONG_PARTITION", f"{text}; use Kafka's default partitioner (murmur2)"
    return None
