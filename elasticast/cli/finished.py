"""Subcommands for the results of a finished suite: `headline`, `archive`, `publish` and `verify`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from elasticast.cli.options import Out, only_with

# Imports are inside the functions, as in `elasticast.cli`.


def headline(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="table1.csv of a suite")],
    results: Annotated[Path, typer.Option(help="folder with the results of all suites")] = Path("results"),
    activate: Annotated[str | None, typer.Option(help="command that makes `elasticast` available in a shell")] = None,
) -> None:
    """Print the results of a suite in one line per panel, what they cost, and the next commands."""
    from elasticast.config.load_suite import load_resolved_suite
    from elasticast.published.costs import describe, job_table
    from elasticast.reporting.headline import headline as lines
    from elasticast.reporting.headline import next_commands, read_table

    read = read_table(table)
    typer.echo(f"\n{lines(read)}")
    for settings in (results / str(suite) / "summary/suite.yaml" for suite in read["suite"].unique()):
        if settings.is_file():
            typer.echo(f"\n{describe(job_table(load_resolved_suite(settings), results))}")
    typer.echo("\nNext:")
    commands = [(activate, "once in each shell")] if activate else []
    commands += next_commands(read, results)
    width = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        typer.echo(f"  {command.ljust(width)}  # {purpose}")


def archive(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="summary/suite.yaml of a finished suite")],
    results: Annotated[Path, typer.Option(help="folder with the results of all suites")],
    figures: Annotated[Path, typer.Option(help="folder with the figures and tables of the suite")],
    out: Out,
    weights: Annotated[bool, typer.Option("--weights", help="add the weights of the runs")] = False,
) -> None:
    """Write code, results, figures, metadata and checksums of a suite to one zip file."""
    from elasticast.archive.write import archive as write
    from elasticast.config.load_suite import load_resolved_suite

    count = write(load_resolved_suite(suite), results, figures, out, weights=weights)
    typer.echo(f"{out}: {count} files, {out.stat().st_size / 1e6:.1f} MB")


def publish(
    context: typer.Context,
    results: Annotated[Path, typer.Argument(help="results of one suite, such as results/mini")],
    out: Annotated[Path | None, typer.Option(help="folder to write; default: docs/results/SUITE")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="publish what `--config partial=true` made of the runs that exist")
    ] = False,
    ablation: Annotated[
        str | None,
        typer.Option(help="publish this ablation of the suite instead: to docs/results/SUITE/ablations/ABLATION"),
    ] = None,
) -> None:
    """Write the published results of a finished suite: summary tables with their records, settings and costs."""
    from elasticast.published.publish import publish as write

    only_with(context, "a suite: an ablation is published when all its runs have finished", ablation is None, "partial")
    if ablation is not None:
        from elasticast.published.ablations import publish_ablation

        typer.echo(f"written: {publish_ablation(results, ablation, out)}")
        return
    folder = write(results, out, partial=partial)
    typer.echo(f"written: {folder}\nnext:    snakemake redraw --config suite={results.name}")


def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="published results, docs/results/SUITE, or results/SUITE")],
    repeat: Annotated[
        Literal["nothing", "evaluation", "training"],
        typer.Option(help="what to compute again: the evaluation of one run, or also its training"),
    ] = "evaluation",
    run: Annotated[
        str | None, typer.Option(help="run to compute again, such as digits_elastic/seed0; default: the cheapest")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="folder with prepared data and trained runs; default: results, or that of FOLDER"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to write: published and repeated scores")] = None,
) -> None:
    """Check published results: what agrees, what differs, what could not be checked. Exit status 1 if any differs."""
    only_with(context, "--repeat evaluation or training", repeat != "nothing", "run", "out")
    from elasticast.published.checks import DIFFERS
    from elasticast.published.verify import line, summary
    from elasticast.published.verify import verify as check

    findings = []
    for finding in check(folder, results, None if repeat == "nothing" else repeat, run, out):
        findings.append(finding)
        typer.echo(line(finding))
    typer.echo(summary(findings))
    if any(finding.outcome == DIFFERS for finding in findings):
        raise typer.Exit(1)
