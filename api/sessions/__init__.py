"""Sessions over HTTP: how one is recognised, its cookie, the list of a user's, the login of a command line."""
