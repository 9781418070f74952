"""Command `doctor`: print one line per finding and a summary."""

from __future__ import annotations

from collections.abc import Sequence

import click

from app.cli.doctor.examination import examine
from app.cli.doctor.findings import Finding, Level

__all__ = ["doctor", "line", "summary"]


@click.command(short_help="Check this installation and give advice.")
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check this installation and give advice; exit status 1 if a check fails."""
    findings = []
    for finding in examine():
        click.echo(line(finding))
        findings.append(finding)
    click.echo(f"\n{summary(findings)}")
    if any(finding.level is Level.FAIL for finding in findings):
        context.exit(1)


def line(finding: Finding) -> str:
    """Return a finding as one line of the report."""
    advice = f" -> {finding.advice}" if finding.advice else ""
    return f"{finding.level:4}  {finding.name:11}  {finding.found}{advice}"


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line of the report."""
    failures = sum(finding.level is Level.FAIL for finding in findings)
    warnings = sum(finding.level is Level.WARN for finding in findings)
    if failures:
        return (
            f"{failures} of {len(findings)} checks failed: the service does not start, or does not work as configured."
        )
    if warnings:
        return f"The service works; {warnings} of {len(findings)} checks have a warning."
    return f"All {len(findings)} checks passed."
