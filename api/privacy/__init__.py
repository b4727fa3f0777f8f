"""What a person has a right to: all of their data. The work is the scheduler's."""
