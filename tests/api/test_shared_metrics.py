"""Several api processes of one machine count together, and a killed one takes nothing with it."""

import re
import signal
from pathlib import Path
from typing import Any

from tests.api.platform import Account, Api, Rows, run_api


def counted(api: Api, name: str) -> float:
    text = api.http.get("/metrics").text
    match = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return 0 if match is None else float(match[1])


def cast(api: Api, account: Account, spell: str) -> None:
    answer = api.http.post("/v1/casts", json={"spell": spell}, headers=account.headers)
    assert answer.status_code == 202, answer.text


def test_kill_9_of_an_api_moves_no_counter_back(
    api_database_url: str, servers: Any, rows: Rows, account: Account, tmp_path: Path
) -> None:
    spell = rows.spell(account, "counted")
    folder = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics")}
    start = (api_database_url, servers.redis_url, tmp_path)
    with run_api(*start, **folder) as survivor:
        with run_api(*start, **folder) as victim:
            for api in (victim, victim, survivor):
                cast(api, account, spell)
            assert counted(victim, "spell_cast_total") == counted(survivor, "spell_cast_total") == 3
            answered = counted(survivor, 'spell_http_requests_total{method="POST",status="202"}')
            assert answered == 3
            assert 'spell_db_pool_in_use{role="spell_engine"}' in survivor.http.get("/metrics").text
            victim.process.send_signal(signal.SIGKILL)
            victim.process.wait()
        assert counted(survivor, "spell_cast_total") == 3
        assert counted(survivor, 'spell_http_requests_total{method="POST",status="202"}') == 3
        with run_api(*start, **folder) as heir:
            cast(heir, account, spell)
            assert counted(survivor, "spell_cast_total") == counted(heir, "spell_cast_total") == 4
            assert counted(heir, "spell_cast_duration_seconds_count") == 4
