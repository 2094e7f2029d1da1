"""The pure core: functions of (state, event, now). No I/O, clock, logging, Faust."""
