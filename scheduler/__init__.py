"""Clock edge: one loop and one table of jobs. A due slot is a row: several schedulers may run, one wins each slot."""
