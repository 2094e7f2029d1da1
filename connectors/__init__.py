"""Everything with a socket: Kafka, ClickHouse, Redis, brokers; and the calendar library."""
