"""Validate metadata with the formats' own validators, without network; for an environment that has them.

They cannot be installed together with the versions of the suite. `CONTRIBUTING.md` says how to make the environment;
tests find it by the variable `ELASTICAST_VALIDATORS`. Prints one problem per line.

    python validators.py rocrate FOLDER
    python validators.py croissant FILE
"""

import json
import sys
from pathlib import Path


def rocrate(folder: str) -> list[str]:
    """Problems of an RO-Crate; the package `rocrate` has a copy of the context that the validator would fetch."""
    import requests
    import requests_cache
    import rocrate as package
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings

    context = Path(package.__file__).parent / "data" / "ro-crate.jsonld"

    def send(_, request, **__):
        if not request.url.startswith("https://w3id.org/ro/crate/"):
            raise requests.ConnectionError(f"no network for {request.url}")
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.headers["Content-Type"] = "application/ld+json"
        response._content = context.read_bytes()
        return response

    requests.Session.send = requests_cache.CachedSession.send = send
    settings = {"rocrate_uri": folder, "requirement_severity": Severity.REQUIRED, "skip_availability_check": True}
    result = services.validate(ValidationSettings(**settings))
    return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]


def croissant(file: str) -> list[str]:
    """Problems of a Croissant file; its records are read, too, and those of the manifest are compared with them."""
    import mlcroissant
    import pandas as pd

    dataset = mlcroissant.Dataset(jsonld=file)
    problems = sorted(dataset.metadata.ctx.issues.errors)
    manifest = pd.read_parquet(Path(file).with_name("manifest.parquet"))
    read = [record["clips/id"].decode() for record in dataset.records("clips")]
    return problems if read == manifest["id"].tolist() else [*problems, "other records than the manifest"]


if __name__ == "__main__":
    kind, path = sys.argv[1:]
    print(json.dumps({"rocrate": rocrate, "croissant": croissant}[kind](path)))
