"""Compares kas files with the schema of the kas that is installed, and their includes with what is there. Prints the machines.

Usage: check_kas.py FOLDER
"""

import importlib.resources
import json
import pathlib
import sys

import jsonschema
import yaml

# Layers whose commit nobody knows yet.
NOT_PINNED = {"meta-mender-community"}

schema = json.loads(importlib.resources.files("kas").joinpath("schema-kas.json").read_text())
files = sorted(pathlib.Path(sys.argv[1]).glob("*.yml"))
configurations = {path.name: yaml.safe_load(path.read_text()) for path in files}


def repositories(name: str) -> dict:
    """What a file and all that it includes know of the repositories."""
    known: dict = {}
    for other in configurations[name]["header"].get("includes", []):
        # From the root of the repository: what is relative to the file is a form that kas gives up.
        folder, _, included = other.rpartition("/")
        assert folder == "yocto/kas", f"{name} includes {other}: not from the root"
        assert included in configurations, f"{name} includes {other}, which is not there"
        known |= repositories(included)
    return known | configurations[name].get("repos", {})


for name, configuration in configurations.items():
    jsonschema.validate(configuration, schema)
    for repository, where in repositories(name).items():
        # A branch at least; what is not pinned is left to a lock file, see yocto/README.md.
        assert "url" not in where or "branch" in where, f"{name}: {repository} has no branch"
        pinned = "commit" in where or "url" not in where
        assert pinned or repository in NOT_PINNED, f"{name}: {repository} has no commit"
    if "machine" in configuration:
        assert {"sagitta", "bitbake", "openembedded-core"} <= repositories(name).keys(), name
        print(configuration["machine"])
