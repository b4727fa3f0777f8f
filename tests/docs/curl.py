"""As much of curl as the guides use, where a machine has none: a method, headers, a body from the line or a file."""

import sys
from argparse import ArgumentParser
from pathlib import Path

import httpx


def main() -> int:
    parser = ArgumentParser(allow_abbrev=False)
    parser.add_argument("-X", dest="method", default="GET")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    body = parser.add_mutually_exclusive_group()
    body.add_argument("-d")
    body.add_argument("--data-binary")
    parser.add_argument("url")
    asked = parser.parse_args()
    text = asked.d if asked.d is not None else asked.data_binary
    content = None if text is None else Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
    headers = dict(header.split(": ", 1) for header in asked.headers)
    answer = httpx.request(asked.method, asked.url, headers=headers, content=content, timeout=120, trust_env=False)
    sys.stdout.buffer.write(answer.content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
