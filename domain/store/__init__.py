"""SQL: named queries in `.sql` files, noun first, one typed function each. Driver errors are translated here."""
