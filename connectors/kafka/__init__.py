"""Kafka outside the agents: clients, topics, controls, mirrors."""
