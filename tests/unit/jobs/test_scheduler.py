"""Snakemake's scheduler looks for jobs when one has ended, not again and again."""

import subprocess
import sys

import pytest

# 12 short jobs end before long ones begin, while others still wait; every look that is planned is counted
SNAKEFILE = """
from snakemake.scheduling.job_scheduler import JobScheduler
from elasticast.jobs.scheduler import drop_default_rate_limit

looks = []
plan = JobScheduler._schedule_reevalutation
JobScheduler._schedule_reevalutation = lambda self, delay: (looks.append(delay), plan(self, delay))

rule all:
    input: expand("{i}.txt", i=range(15))

rule one:
    output: "{i}.txt"
    params: seconds=lambda wildcards: 0 if int(wildcards.i) < 12 else 1
    shell: "sleep {params.seconds}; touch {output}"

onstart:
    drop_default_rate_limit(workflow.scheduler)

onsuccess:
    print("planned looks:", len(looks))
"""


@pytest.mark.parametrize(("options", "limited"), [([], False), (["--max-jobs-per-timespan", "50/1s"], True)])
def test_no_look_is_planned_unless_the_user_limits_jobs(tmp_path, options, limited):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *options]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    looks = int(run.stdout.split("planned looks:")[1].split()[0])
    assert (looks > 15) == limited
    assert limited or looks == 0
    assert len(list(tmp_path.glob("*.txt"))) == 15
