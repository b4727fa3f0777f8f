"""How people sign in: at GitHub, at an OpenID issuer, by a mailed link; the page that offers them, and their account.

Each way ends in `finish`: a user, a new session, its cookie, and a path of ours to go on with.
"""
