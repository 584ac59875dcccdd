"""What a suite holds against the paper: claims as testable rules, and which released curve an experiment belongs to.

Like labels, none of it decides what is trained.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from elasticast.settings import Settings

if TYPE_CHECKING:
    from elasticast.config import Suite

Percent = Annotated[float, Field(ge=0, le=100)]


class ReleasedSeries(Settings):
    """A curve that the authors released, see `elasticast.reporting.released`."""

    dataset: str = Field(description="of paper_figures/reference/released_curves.csv")
    series: str = Field(description="of the same file")
    weights: str | None = Field(
        None, description="file in `released_weights` that drew this curve, where it was released"
    )


class Claim(Settings):
    """What the paper says of one flexible model and the fixed-length ones beside it, over one sweep."""

    says: str = Field(description="the claim in words")
    model: str = Field(description="experiment with the flexible model")
    against: list[str] = Field(min_length=1, description="experiments with fixed-length models")
    evaluation: str = Field(description="the sweep, which all of them have")
    within_own: Percent | None = Field(
        None, description="points that the model may lie below each AST at that AST's own length or resolution"
    )
    better: Literal["beyond", "elsewhere"] | None = Field(
        None, description="it is better than each AST at every x above that AST's own, or at every other x"
    )

    @model_validator(mode="after")
    def _testable(self):
        if self.within_own is None and self.better is None:
            raise ValueError("give `within_own`, `better`, or both: without either there is nothing to test")
        return self


def claim_problems(suite: "Suite") -> list[str]:
    """Problems between the claims of a suite and the experiments they name, each beginning with ``NAME: key: ``."""
    problems = []
    for name, claim in suite.claims.items():
        for key, experiments in (("model", [claim.model]), ("against", claim.against)):
            problems += [f"{name}: {p}" for e in experiments if (p := _misfit(suite, claim, key, e))]
    return problems


def _misfit(suite: "Suite", claim: Claim, key: str, experiment: str) -> str:
    """What is wrong with one experiment of a claim; empty where nothing is."""
    if experiment not in suite.runs:
        return f"{key}: unknown experiment {experiment!r}. There is: {', '.join(suite.runs)}"
    curves = [*suite.curve(experiment, "max_frames"), *suite.curve(experiment, "compression")]
    if claim.evaluation not in curves:
        return f"evaluation: {claim.evaluation!r} is no curve of {experiment}, which has: {', '.join(curves)}"
    run = suite.runs[experiment]
    if (run["model"]["kind"] == "ast" and run["view"]["frames"] != "native") != (key == "against"):
        wanted = "an `ast` of a fixed length" if key == "against" else "a model that takes any length"
        about = f"kind {run['model']['kind']!r}, view.frames {run['view']['frames']!r}"
        return f"{key}: {experiment!r} is of {about}; expected {wanted}"
    return ""
