"""`./orderflow demo`: real ticks and a mixed load of orders, every one of them accounted for."""
