"""The benchmark must not flatter: what it counts, what it compares with, and one run of it from end to end."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace

import psycopg
import pytest

from scripts.benchmark import processes, reads, targets
from scripts.benchmark.drain import Bucket, Drain, due_times
from scripts.benchmark.lists import Rates, Request, Survey, least_seconds, survey
from scripts.benchmark.meter import Usage
from scripts.benchmark.rig import Conditions, Run
from scripts.benchmark.rows import Rows
from scripts.benchmark.state import BenchError
from scripts.benchmark.table import table
from scripts.run_procfile import ROOT
from scripts.sandbox.running import SandboxProcess
from sync.database.schema import create_team_schema, schema_name

LIMITED = Rates(account_rps=100, endpoint_rps=25)
BURN_IN_A_GRANDCHILD = """
import os, time
def burn(s):
    end = time.process_time() + s
    while time.process_time() < end: pass
if os.fork() == 0:
    if os.fork() == 0:
        burn(0.3)
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
print("burnt", flush=True)
input()
"""


def usage(**fields):
    plain = Usage(
        wall_s=17.0,
        cpu_s={"worker": 2.0, "events": 0.1, "scheduler": 0.1, "web": 9.0, "Postgres": 9.0},
        others_cpu_s=0.0,
        wal_bytes=100,
        peak_mb={"worker": 100.0, "events": 80.0, "scheduler": 80.0},
        total_mb=500.0,
        load_average=(0.0, 0.0),
    )
    return replace(plain, **fields)


def run(traffic=None, synced=None, **fields):
    return Run(
        synced=synced or {"charge": 100_000},
        lists_read_s=15.0,
        usage=usage(**fields),
        traffic=traffic or {"GET /v1/charges": {"200": 425}},
        most_in_flight=20,
        warnings=(),
    )


def charges(pages):
    return Survey(
        tuple(Request("GET /v1/charges", f"/v1/charges?page={page}", is_nested=False) for page in range(pages)),
        {"charge": pages * 100},
    )


def verdicts(found):
    return [target.verdict for target in found]


def test_processor_time_of_ended_grandchildren_is_counted():
    command = [sys.executable, "-c", BURN_IN_A_GRANDCHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()

        used = processes.cpu_s(process.pid)
        alive = processes.tree(process.pid)
        process.communicate("done\n")

    assert used >= 0.29
    assert alive == [process.pid]


def test_a_tree_has_children_and_grandchildren():
    script = "sleep 60 & sh -c 'sleep 60; true' & echo started; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        deep = []
        while len(deep) < 4:
            deep = processes.tree(process.pid)
        os.killpg(process.pid, 9)

    assert deep[0] == process.pid
    assert processes.tree(process.pid) == [process.pid]


def test_memory_is_the_kernels_peak_and_0_for_who_is_gone():
    assert processes.peak_mb(os.getpid()) >= processes.proportional_mb(os.getpid()) > 1
    assert processes.peak_mb(2**22 + 1) == 0


@pytest.mark.parametrize(
    ("counts", "seconds"),
    [
        ({"charges": 25}, 0.15),  # in the burst
        ({"charges": 425}, 16.15),
        ({"charges": 425, "invoices": 300}, 16.15),
        (dict.fromkeys("abcdefgh", 300), 23.15),  # the account's limit is the tighter one
    ],
)
def test_what_the_rates_permit(counts, seconds):
    endpoints = [name for name, count in counts.items() for _ in range(count)]

    assert least_seconds(endpoints, LIMITED, latency_s=0.15) == pytest.approx(seconds)


def test_without_limits_only_the_latency_is_between():
    assert least_seconds(["charges"] * 9_000, Rates(), latency_s=0.1) == 0.1


def test_the_bare_client_stays_inside_both_buckets_and_wastes_next_to_nothing():
    endpoints = ["charges"] * 410 + ["invoices"] * 320 + ["customers"] * 125 + ["lines"] * 300

    due = due_times(endpoints, LIMITED)

    for name, rate in (("all", 100), ("charges", 25), ("lines", 25)):
        bucket = Bucket(rate)
        for at, endpoint in sorted(zip(due, endpoints, strict=True)):
            if name in ("all", endpoint):
                assert at >= bucket.next_token_at() - 1e-9
                bucket.take(at)
    assert max(due) <= least_seconds(endpoints, LIMITED, latency_s=0.0) * 1.02 + 0.1


def test_a_survey_finds_every_page_and_the_drain_reads_them_all():
    with SandboxProcess("--account", "bench", "--scale", "0.3") as sandbox:
        found = survey(sandbox.url, "sk_test_bench")
        sandbox.call("DELETE", "stats", account="bench")
        drained = Drain(sandbox.url, "sk_test_bench", found.requests, Rates()).run(threads=3)
        answered = sandbox.stats(account="bench")["endpoints"]

    assert found.objects["charge"] == 1_230
    assert found.pages()["GET /v1/charges"] == 13
    assert found.pages()["GET /v1/prices"] == 2  # active ones, and those that are not
    assert found.nested()["GET /v1/invoices/:id/lines"] > 0
    assert answered == {name: {"200": count} for name, count in (found.pages() + found.nested()).items()}
    assert (drained.requests, drained.limited) == (len(found.requests), 0)


def test_only_rows_that_were_written_again_count_as_rewritten(database_url):
    with psycopg.connect(database_url) as connection:
        create_team_schema(connection, "team_b")
        connection.execute(f"SET search_path = {schema_name('team_b')}")
        insert = "INSERT INTO customers (id, raw, as_of, as_of_until) VALUES (%s, '{}', 1, 1)"
        connection.cursor().executemany(insert, [("cus_1",), ("cus_2",), ("cus_3",)])
        connection.commit()
        rows = Rows(database_url, schema_name("team_b"))
        rows.remember()
        connection.execute("UPDATE customers SET raw = raw WHERE id = 'cus_2'")
        connection.execute(insert, ["cus_4"])

    assert rows.rewritten() == 1
    assert rows.total() == 3


def test_targets_are_met_or_missed_at_the_scale_they_speak_of():
    conditions = Conditions(10, "default", 150, LIMITED)

    met = targets.of_run(conditions, charges(425), run(wall_s=18.5), [])
    missed = targets.of_run(
        conditions,
        charges(425),
        run(
            wall_s=18.6, cpu_s={"worker": 3.1, "events": 0, "scheduler": 0}, synced={"charge": 100_000},
            peak_mb={"worker": 151.0, "events": 80.0, "scheduler": 80.0},
            traffic={"GET /v1/charges": {"200": 425, "429": 63}},
        ),
        ["charge: 1 missing (ch_1)"],
    )  # fmt: skip

    assert set(verdicts(met)) == {"ok"}
    assert set(verdicts(missed)) == {"MISSED"}


def test_speed_and_processor_time_of_a_small_account_are_not_judged():
    found = targets.of_run(Conditions(1, "default", 150, LIMITED), charges(42), run(wall_s=99), [])

    assert verdicts(found)[:2] == ["-", "-"]
    assert "judged from scale 10" in found[0].measured


def test_without_limits_the_target_is_objects_a_second():
    conditions = Conditions(10, "default", 0, Rates())

    assert targets.of_speed(conditions, charges(9), run(wall_s=12.5)).verdict == "ok"
    assert targets.of_speed(conditions, charges(9), run(wall_s=12.6)).verdict == "MISSED"


def test_a_second_run_must_write_nothing_and_be_faster():
    first, second = run(wal_bytes=1_000, wall_s=10), run(wal_bytes=11, wall_s=10)

    assert verdicts(targets.of_second_run(first, second, rewritten=1)) == ["MISSED"] * 3
    assert verdicts(targets.of_second_run(first, run(wal_bytes=10, wall_s=9.9), rewritten=0)) == ["ok"] * 3


def read(name, *taken_ms, wall_s=2.0):
    return reads.Reads(name, 8, [each / 1000 for each in taken_ms], usage(wall_s=wall_s))


def test_reads_are_judged_by_half_and_by_ninety_nine_of_a_hundred():
    fast, slow = [4] * 99 + [24], [4] * 90 + [26] * 10
    found = {
        "retrieve": read("retrieve", *fast),
        "list of 10": read("list of 10", *slow),
        "Stripe itself, alone": read("Stripe itself, alone", 100, 100),
        "forwarded, alone": read("forwarded, alone", 104, 104),
    }

    assert verdicts(reads.targets_of(found)) == ["ok", "MISSED", "ok"]
    assert found["retrieve"].a_second == 50
    found["forwarded, alone"] = read("forwarded, alone", 106, 106)
    assert verdicts(reads.targets_of(found))[2] == "MISSED"


def test_each_read_is_answered_before_the_next_is_sent():
    """The benchmark's own client, against the sandbox."""
    with SandboxProcess("--account", "bench", "--scale", "0.02") as sandbox:
        sandbox.call("DELETE", "stats", account="bench")
        paths = itertools.repeat("/v1/charges?limit=100")
        taken_s = reads.call(sandbox.url, paths, ["sk_test_bench"] * 2, "", connections=2, lasts_s=0.2)
        stats = sandbox.stats(account="bench")

    assert stats["endpoints"] == {"GET /v1/charges": {"200": len(taken_s)}}
    assert 0 < stats["maxInFlight"] <= 2
    assert min(taken_s) > 0


def test_a_refused_read_ends_the_benchmark():
    with SandboxProcess("--account", "bench", "--scale", "0.02") as sandbox, pytest.raises(BenchError, match="401"):
        reads.call(sandbox.url, itertools.repeat("/v1/charges"), ["sk_test_nobody"], "", connections=1, lasts_s=0.2)


def test_tables_put_numbers_to_the_right():
    assert table(["", "a"], [["one", "1"], ["three", "1,000"], ["none"]]) == [
        "             a",
        "  -----  -----",
        "  one        1",
        "  three  1,000",
        "  none        ",
    ]


def bench(*arguments, **environ):
    command = [sys.executable, "-m", "scripts.bench", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False)


def test_it_refuses_to_fill_a_database_that_is_not_its_own():
    done = bench(DATABASE_URL="postgresql://somebody@example.com/theirs")

    assert done.returncode == 1
    assert "run it without DATABASE_URL" in done.stderr


@pytest.mark.slow  # the demo's test starts the same processes, and what a run is judged by is tested above
def test_a_run_from_end_to_end(tmp_path):
    done = bench("--scale", "0.05", "--latency-ms", "10", "--again", "--json", str(tmp_path / "found.json"))

    assert "all lists read after" in done.stdout, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    by_text = {target["text"]: target for target in found["targets"]}
    assert by_text["mirror equals the sandbox, object for object and field for field"]["met"] is True
    assert by_text["an unchanged account again: no row rewritten"]["met"] is True
    assert sum(found["run"]["synced"].values()) == sum(found["objects"].values())
    assert found["run"]["usage"]["cpu_s"]["worker"] > 0.1
    assert found["run"]["usage"]["cpu_s"]["Postgres"] > 0.01
    assert found["run"]["usage"]["peak_mb"]["worker"] > 30
