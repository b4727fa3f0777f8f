"""A program the tests run and kill: supervises a data folder, says where the servers are, and waits to be ended."""

import json
import signal
import sys
from pathlib import Path

from local.folder import LocalServerError
from local.servers import run_servers


def main() -> int:
    try:
        with run_servers(Path(sys.argv[1])) as servers:
            assert servers.postgres is not None
            assert servers.redis is not None
            ready = {
                "database_url": servers.database_url,
                "redis_url": servers.redis_url,
                "postgres": servers.postgres.process_id,
                "redis": servers.redis.process_id,
            }
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            signal.pause()
    except LocalServerError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
