"""ClickHouse: clients, migrations, named queries, and the sink of the history."""
