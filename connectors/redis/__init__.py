"""Redis: copies of rules and prices, locks, rate buckets; never the only copy of anything."""
