"""Candle charts as text and as SVG: pure functions of bars and fills, without colours of a place.

`candles` has what is drawn and how it is scaled, `text` draws it in characters, `svg` as a
picture for a page, `page` is that page. Nothing here reads or writes anything.
"""
