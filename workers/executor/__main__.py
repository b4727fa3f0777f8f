"""`python -m workers.executor DESCRIPTOR`: one jailed child, on a socket that its parent left open for it."""

import sys

from workers.executor.child import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]))
