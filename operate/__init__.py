"""The operator's part of the `spell` program (dev, demo, migrate, users, keys). May import everything."""
