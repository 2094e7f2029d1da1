"""The embedded stack: Kafka, Valkey and ClickHouse on one machine with only Python present."""
