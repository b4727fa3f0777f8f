"""Clock edge: one loop and one table of jobs. A due slot is a row, so several schedulers may run and one wins each slot."""
