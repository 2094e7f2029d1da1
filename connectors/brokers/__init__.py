"""The brokers behind the port of `streams.broker`."""
