"""The time and memory of a job, from Snakemake's benchmark file."""

import pytest
from snakemake import benchmark

from elasticast.jobs.benchmarks import LONG, SAMPLES, SHORT, cpu_seconds, read_benchmark


def test_samples_are_those_of_snakemake():
    assert (benchmark.BENCHMARK_INTERVAL, benchmark.BENCHMARK_INTERVAL_SHORT) == (LONG, SHORT) == (SAMPLES, SHORT)


@pytest.mark.parametrize("seconds", [0.2, 3.0, 15.0, 15.4, 15.6, 44.9, 45.0, 98.9, 3600.0])
@pytest.mark.parametrize("cores", [0.5, 1.0, 2.0])
def test_a_job_of_a_steady_rate_is_counted_to_its_end(seconds, cores):
    """The CPU time at Snakemake's last sample, up to 30 s before the end."""
    samples = [SHORT * n for n in range(SAMPLES + 1)]
    while samples[-1] + LONG <= seconds:
        samples.append(samples[-1] + LONG)
    last = max(sample for sample in samples if sample <= seconds)
    whole = cpu_seconds(seconds, cores * last)
    assert whole == pytest.approx(cores * seconds, abs=cores * SHORT)
    assert whole >= cores * last


def test_a_job_shorter_than_a_sample_counts_as_one_core(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("s\th:m:s\tmax_rss\tcpu_time\n0.2\t0:00:00\tNA\tNA\n")
    assert read_benchmark(path).cpu_seconds == pytest.approx(0.2)


def test_memory_is_read(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("s\th:m:s\tmax_rss\tcpu_time\n10\t0:00:10\t1482.80\t9.5\n")
    assert read_benchmark(path) == (10.0, 9.5, 1482.8)


@pytest.mark.parametrize(
    "content", ["", "damaged", "s\tcpu_time\n", "s\tcpu_time\nx\t1\n", "s\tcpu_time\n-1\t1\n", "s\tcpu_time\n1\n"]
)
def test_a_damaged_file_tells_nothing(tmp_path, content):
    path = tmp_path / "train.tsv"
    path.write_text(content)
    found = read_benchmark(path)
    assert found is None or found.seconds >= 0
    assert read_benchmark(tmp_path / "missing.tsv") is None
