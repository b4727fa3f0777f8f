"""Frozen data and pure decisions. No I/O, no clock, no randomness: `now`, ids and random bytes are arguments."""
