"""Metadata of an archive as an RO-Crate (https://www.researchobject.org/ro-crate/): what it holds, who made it, how."""

import json
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

import yaml

from elasticast.config import Suite

NAME = "ro-crate-metadata.json"
LICENCE = "https://www.apache.org/licenses/LICENSE-2.0"
PAPER = "https://arxiv.org/abs/2407.08691"
_KINDS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".html": "text/html",
    ".yaml": "application/yaml",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".md": "text/markdown",
    ".txt": "text/plain",
}


def crate_metadata(suite: Suite, sums: dict[str, str], citation: str, about: dict[str, Any]) -> str:
    """The JSON-LD of an archive.

    Parameters
    ----------
    sums : dict of str to str
        SHA-256 of each file of the archive that is described, by place. Folders of runs are described as a whole.
    citation : str
        Content of CITATION.cff.
    about : dict
        `version`, `date` (of the commit), `commit` of the code and `trained` (commits that the runs were trained with).
    """
    from rocrate.rocrate import ROCrate  # only archives need it

    crate, cited = ROCrate(), yaml.safe_load(citation)
    crate.name = f"{suite.title}: results of the suite {suite.name}"
    crate.description = (
        f"Code, settings, predictions, scores, figures and tables of the suite {suite.name} of {cited['title']}. "
        f"Code of commit {about['commit']}; the runs were trained with the code of {', '.join(about['trained'])}."
    )
    crate.datePublished = about["date"]
    licence = {"@id": LICENCE, "@type": "CreativeWork", "name": "Apache License 2.0"}
    crate.license = crate.add_jsonld(licence)
    root = crate.root_dataset
    root["version"] = about["version"]
    root["author"] = [_person(crate, i, author) for i, author in enumerate(cited["authors"])]
    root["citation"] = crate.add_jsonld({"@id": PAPER, "@type": "ScholarlyArticle", "name": _paper(cited)})
    if "doi" in cited:
        root["identifier"] = f"https://doi.org/{cited['doi']}"
    _add_workflow(crate)
    for place, sha256 in sums.items():
        _add_file(crate, place, sha256)
    for place, text in _folders(suite).items():
        crate.add_dataset(dest_path=place, properties={"name": place, "description": text})
    return json.dumps(crate.metadata.generate(), indent=1)


def _person(crate: Any, number: int, author: dict[str, str]) -> Any:
    """An author of CITATION.cff: a person, or a group with a name."""
    group = "name" in author
    name = author["name"] if group else f"{author['given-names']} {author['family-names']}"
    properties = {"@id": author.get("orcid", f"#author{number}"), "@type": "Organization" if group else "Person"}
    return crate.add_jsonld({**properties, "name": name})


def _paper(cited: dict[str, Any]) -> str:
    return next((reference["title"] for reference in cited.get("references", [])), "")


def _add_workflow(crate: Any) -> None:
    crate.add_jsonld(
        {
            "@id": "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
            "@type": "ComputerLanguage",
            "name": "Snakemake",
            "version": version("snakemake"),
            "identifier": {"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
            "url": {"@id": "https://snakemake.readthedocs.io"},
        }
    )
    kind = ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    language = {"@id": "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"}
    properties = {"@type": kind, "name": "Workflow of the suite", "programmingLanguage": language}
    crate.mainEntity = crate.add_file(dest_path="Snakefile", properties=properties)


def _add_file(crate: Any, place: str, sha256: str) -> None:
    kind = _KINDS.get(PurePosixPath(place).suffix)
    properties = {"name": PurePosixPath(place).name, "sha256": sha256}
    crate.add_file(dest_path=place, properties={**properties, **({"encodingFormat": kind} if kind else {})})


def _folders(suite: Suite) -> dict[str, str]:
    """What is in the folders whose files have no entry each."""
    texts = {"elasticast/": "The package: models, data, training, evaluation, figures.", "config/": "Settings."}
    for name, experiment in suite.experiments.items():
        text = f"Runs of {experiment.label}: settings, record, predictions of each clip, scores, learning curve."
        texts[f"results/{suite.name}/runs/{name}/"] = text
    return texts
