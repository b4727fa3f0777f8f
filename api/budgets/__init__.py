"""Budgets and holds over HTTP, and the board that keeps the headers of other answers at most a second old."""
