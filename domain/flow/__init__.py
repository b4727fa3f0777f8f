"""One file per verb. A flow takes an open transaction and `now`, may run twice without harm, and never commits."""
