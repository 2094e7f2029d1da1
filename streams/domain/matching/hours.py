"""When an order works and when its time is over, from the sessions of the market.

- Regular hours: `day` and `gtc` orders match from the open (inclusive) to the close (exclusive);
  with `extended_hours` from the start of pre-market to the end of post-market.
- An order that comes at another time is accepted at once, and works when its hours begin.
- `day` expires at the end of its hours: the close, or the end of post-market.
- `gtc` expires at the first end of its hours `gtc_days` after it was accepted.
- `opg` takes part in the first print at or after the next open, `cls` in the close, with the last
  print of that session. What they do not get there is canceled (`opg`) or expires (`cls`); an
  `opg` order expires at the close if the session had no print.
- `ioc` and `fok` are canceled at once outside of their hours.
"""

from streams.domain.matching.config import DAY_NS, VenueConfig
from streams.domain.sessions import Calendar, Phase, Session
from streams.models.orders import OrderTerms, TimeInForce


class Hours:
    """The session that the venue's time is in, or else the next one."""

    def __init__(self, calendar: Calendar, config: VenueConfig) -> None:
        self._calendar = calendar
        self._config = config
        self.shift_ns = 0
        self.session = Session("", 0, 0, 0, 0)
        self.phase: Phase = "closed"
        self.next_ns = 0

    def move(self, ts_ns: int) -> None:
        """Take the session and its part at a moment."""
        self.session = self._calendar.session_at(ts_ns, self.shift_ns)
        self.phase = self.session.phase(ts_ns)
        bounds = self._bounds(self.session)
        self.next_ns = next(bound for bound in bounds if bound > ts_ns)

    def working(self, terms: OrderTerms) -> bool:
        """Return whether an order of these terms may match now."""
        if terms.extended_hours:
            return self.phase != "closed"
        return self.phase == "regular"

    def expiry(self, terms: OrderTerms, now_ns: int) -> int:
        """Return when an order that is accepted now expires; now is in the session of `move`."""
        tif, since, session = terms.time_in_force, now_ns, self.session
        if tif is TimeInForce.GTC:
            since += self._config.gtc_days * DAY_NS
            session = self._calendar.session_at(since, self.shift_ns)
        if tif is TimeInForce.OPG:
            end = session.close_ns if since < session.open_ns else 0
        elif terms.extended_hours and tif is not TimeInForce.CLS:
            end = session.post_ns
        else:
            end = session.close_ns if since < session.close_ns else 0
        return end or self._calendar.session_at(session.post_ns, self.shift_ns).close_ns

    @staticmethod
    def _bounds(session: Session) -> tuple[int, int, int, int]:
        return session.pre_ns, session.open_ns, session.close_ns, session.post_ns
