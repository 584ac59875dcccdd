"""Keep Snakemake's scheduler from looking for jobs again and again."""

from typing import Any

DEFAULT_LIMIT = 100, 1.0
"""Jobs, and seconds in which Snakemake starts at most so many, if `--max-jobs-per-timespan` is not given."""


def drop_default_rate_limit(scheduler: Any) -> None:
    """Remove the limit of jobs per second from Snakemake's scheduler, unless the user has set another than the default.

    With a limit, each look for jobs that can start plans another look one second later, and each job that ends adds
    one more such chain (Snakemake 9.27; https://github.com/snakemake/snakemake/pull/3744). The looks per second grow
    with the number of finished jobs, up to a whole core after some hundred jobs.

    Parameters
    ----------
    scheduler : snakemake.scheduling.job_scheduler.JobScheduler
        The scheduler, before it has started a job.
    """
    limit = getattr(scheduler, "job_rate_limiter", None)
    if limit is not None and (limit.max_jobs, limit.timespan) == DEFAULT_LIMIT:
        scheduler.job_rate_limiter = None
