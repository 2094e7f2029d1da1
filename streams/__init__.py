"""Orderflow: an order pipeline of Faust agents on Kafka, with history in ClickHouse.

Imports run one way (checked by `lint-imports`):

    models  <-  topics, domain  <-  tables  <-  agents, connectors  <-  app, web, cli, dev
"""

__version__ = "0.1.0"
