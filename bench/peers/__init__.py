"""What the platform is measured against, set up the way its own documentation shows."""
