"""From a request for a cast to a verdict: the batcher, the rate limit, the wire, and who waits for a result.

`batcher` is group commit; `rate` and `wire` share its one round trip to Redis; `over_rate` tells a 402 from a 429.
"""
