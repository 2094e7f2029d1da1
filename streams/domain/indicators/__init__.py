"""Indicators out of bars: one step per bar, a state that can be stored, values when they hold.

- `rules`: what an indicator is; `averages`, `wilder`, `volumes`: those that there are;
- `asked`: which are asked for, as the setting `indicators` says;
- `rows`: the state that is stored; `series`: one symbol's bars of one frame, and what a new,
  late or restated one of them changes.
"""
