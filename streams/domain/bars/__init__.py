"""Bars out of prints: which prints count, in which bar, when it is final, what restates it.

- `conditions`: what a print's sale condition lets it do;
- `frames`: which bars are asked for; `spans`: where the bars of a trading day begin and end;
- `prints`: prints as they are kept, corrections applied; `fold`: figures of prints and of bars;
- `tape`: one symbol; `keeper`: all symbols of a partition, the state that is stored of them.
"""
