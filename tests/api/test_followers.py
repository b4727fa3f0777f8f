from contextlib import ExitStack

import pytest

from api.webhooks.followers import FOLLOWERS_MAX, Followers
from domain.model.errors import Code, RefusedError


def test_so_many_follow_at_once_and_the_next_when_one_has_gone() -> None:
    followers = Followers()
    with ExitStack() as waiting:
        for _ in range(FOLLOWERS_MAX):
            waiting.enter_context(followers)
        with pytest.raises(RefusedError) as refused:
            followers.__enter__()
        assert refused.value.refusal.code is Code.OVERLOADED
    with followers:
        pass
