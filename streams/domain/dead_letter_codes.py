"""Why a record can end in the dead letters: code and meaning, as data for the reference."""

DEAD_LETTER_CODES: dict[str, str] = {
    "BAD_JSON": "The value is not JSON in UTF-8.",
    "BAD_SCHEMA": "JSON, but not the topic's message: another root type, a field missing or"
    " unknown, an unknown command or kind.",
    "BAD_TYPE": "A field has the wrong type or an unknown choice; decimals are JSON strings.",
    "BAD_NUMBER": "A number is no finite decimal of at most 28 digits, 9 after the point.",
    "BAD_ID": "An id or symbol has characters or a length that are not allowed.",
    "TOO_LARGE": "The value is larger than 256 KiB.",
    "TOO_COMPLEX": "The JSON is nested too deeply.",
    "SCHEMA_FUTURE": "`schema_version` is newer than this Orderflow; upgrade, then send it again.",
    "TOMBSTONE": "The record has no value; nothing is ever deleted that way.",
    "NO_KEY": "The record has no key; orders are keyed by account.",
    "KEY_MISMATCH": "The key is not the account in the value.",
    "WRONG_PARTITION": "The record is not on its key's partition (murmur2, as every client).",
    "NO_VERDICT": "An order came again whose verdict is not known any more.",
    "BAD_FILL": "A fill event without what makes a fill.",
    "EXECUTION_CONFLICT": "An execution id that is known with other content.",
    "EXECUTION_TOO_OLD": "An unknown execution older than a month, or a change of one: it may have"
    " been counted and forgotten. Compare the position with the broker's.",
    "ORDER_LEFT": "An event of an order that was over for more than a week and has left the table;"
    " the history has it.",
    "CONTRADICTS_ORDER": "An event that contradicts its order: another symbol or side.",
    "WRONG_BROKER": "An order for another broker was on this broker's topic.",
    "CONFLICT": "An order for the venue with an id that another order has there.",
    "ORPHAN_EXECUTION": "A broker reported an execution of an order that we do not know; none"
    " came within a minute. The value is the event as it would have been published.",
    "LATE_TRADE": "A print of a bar that can no longer be restated (setting `bars_keep_s`).",
    "BAD_PRINT": "A correction without a price or size above 0, or of no earlier print.",
    "FUTURE": "A correction of more than a day ahead.",
    "NO_SESSION": "A print of a time for which no trading sessions are known.",
    "LATE_BAR": "A bar that is older than those whose indicators can be restated (docs/market.md).",
    "UNKNOWN_STRATEGY": "A signal of a strategy that is neither set up nor controlled, or that"
    " is not for the symbol.",
    "STRATEGY_DISABLED": "A signal of a strategy that is disabled.",
    "STRATEGY_KILLED": "A signal under a kill switch of its strategy, account, symbol, or of all.",
    "STALE_SIGNAL": "A signal older than `signal_max_age_s` when it was to be sized.",
    "NO_SIZE": "A signal of a strategy that has no account or no size, or that makes no quantity.",
    "NO_PRICE": "A signal to be sized by value without a price, of a symbol without a last price.",
    "ALLOCATION_CONFLICT": "An allocation id that is known with other content; the first stands.",
    "UNKNOWN_ALLOCATION": "A cancel of an allocation that the account never had.",
    "SLICES_CONFLICT": "The id of a sliced order that is known with other content; it stands.",
    "UNKNOWN_SLICES": "A cancel of a sliced order that the account never had.",
    "AGENT_ERROR": "The agent failed on this record, and kept nothing of it; see the log.",
    "CRASHED_WORKER": "The worker's process died three times or more while at this record.",
    "HISTORY_REFUSED": "ClickHouse refused the row; the reason is ClickHouse's.",
}

#: Why a dead letter is not sent again.
REDRIVE_CODES: dict[str, str] = {
    "TOO_MANY_REDRIVES": "It was sent again three times and failed each time; it stays.",
    "DISCARDED": "Somebody discarded it.",
    "UNKNOWN_SOURCE": "It does not say which topic of ours it came from.",
    "CUT": "It holds only the start of a record that was too large; send the record anew.",
}
