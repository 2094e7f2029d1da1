"""The virtual venue: a matching engine per symbol, driven by orders and ticks in event time.

Orders match against the tape alone (quotes and prints), never against each other: two users'
orders cannot trade with one another, so there is no self-trade to prevent. The same input gives
the same events: there is no clock, no shared random stream, and no order that depends on hashing.

Modules build on one another in this order: `exact`, `config`, `fees`, `records`, `orders`, `book`,
`stops`, `queues`, `checks`, `hours`, `ledger`, `contingent`, `executor`, `matcher`,
`effects`, `engine`.
"""
