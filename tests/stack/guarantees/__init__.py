"""Each guarantee of the transport, beside what stock Faust does with the same work."""
