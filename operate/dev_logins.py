"""Where people sign in on this machine: the stand-in for GitHub, and an OpenID provider where one is installed."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local import oidc
from local.github import FakeGithub
from local.oidc import OidcMock
from local.ports import LOOPBACK


@contextmanager
def login_stand_ins(
    folder: Path, environ: Mapping[str, str], *, port: int, with_issuer: bool
) -> Generator[dict[str, str]]:
    """Run what the environment does not name, and yield the settings that lead there. Raises LocalServerError."""
    settings: dict[str, str] = {}
    with ExitStack() as running:
        if not environ.get("GITHUB_CLIENT_ID"):
            public_url = environ.get("PUBLIC_URL") or f"http://{LOOPBACK}:{port}"
            github = FakeGithub(folder / "github", callback_url=f"{public_url.rstrip('/')}/auth/callback")
            github.start()
            running.callback(github.stop)
            settings |= github.settings
        if with_issuer and not environ.get("OIDC_ISSUER") and oidc.is_installed():
            issuer = OidcMock(folder / "oidc")
            issuer.start(wait=False)
            running.callback(issuer.stop)
            settings |= issuer.settings
        yield settings
