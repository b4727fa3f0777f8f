"""What a creator earned, and how much of it is his by now. Amounts are sums over the ledger, never over counters."""
