"""The manifests: valid, and in agreement with each other and with the server."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from running import Serve
from sendfile_server.config import Config
from sendfile_server.options import TcpAddress, arguments, options
from wire import fetch

TOP = Path(__file__).parents[2]
FOLDER = TOP / "deploy" / "kubernetes"
FILES = sorted({each.name for each in FOLDER.iterdir()} - {"kustomization.yaml"})
STATED = options(Config) | arguments(Config)
# The oldest that has what is used, and the newest that the schemas know.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here

Tree = dict[str, Any]


def load(file: str) -> Tree:
    """Return what a file of the folder says."""
    tree: Tree = yaml.safe_load((FOLDER / file).read_text())
    return tree


def pod() -> Tree:
    """Return how a pod of the Deployment is made."""
    template: Tree = load("deployment.yaml")["spec"]["template"]
    return template


def container() -> Tree:
    """Return its only container."""
    (only,) = pod()["spec"]["containers"]
    found: Tree = only
    return found


def variables() -> dict[str, str]:
    """Return the environment of the container: the image's, and what is set over it."""
    dockerfile = (TOP / "Dockerfile").read_text()
    image = re.findall(r"(SENDFILE_SERVE_[A-Z_]+)=([^ \n]+)", dockerfile)
    return dict(image) | {each["name"]: each["value"] for each in container()["env"]}


def config() -> Config:
    """Return what the server makes of it."""
    asked = {
        name.removeprefix("SENDFILE_SERVE_").lower(): text
        for name, text in variables().items()
    }
    values: Tree = {name: STATED[name].parse(text) for name, text in asked.items()}
    return Config(**values | {"listen": (values["listen"],)})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", FILES)
def test_manifest_is_valid(file: str, version: str) -> None:
    """By the schema of its kind, with no field that this does not know."""
    kubernetes_validate.validate(load(file), version, strict=True)


def test_all_are_applied() -> None:
    """`kubectl apply -k` takes every file, and knows the image by its name."""
    kustomization = load("kustomization.yaml")

    assert sorted(kustomization["resources"]) == FILES
    assert [each["name"] for each in kustomization["images"]] == [container()["image"]]


def test_options_are_the_servers() -> None:
    """The environment sets what the server knows, to values that it takes."""
    assert "args" not in container()
    assert config().directory == "/www"


def test_ports_are_where_it_listens() -> None:
    """Those of the container, which the Service, its Ingress and the probes name."""
    ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
    (service,) = load("service.yaml")["spec"]["ports"]
    (rule,) = load("ingress.yaml")["spec"]["rules"]
    (path,) = rule["http"]["paths"]

    assert config().listen == (TcpAddress(EVERYWHERE, ports["http"]),)
    assert config().metrics == TcpAddress(EVERYWHERE, ports["metrics"])
    assert service["targetPort"] == "http"
    assert path["backend"]["service"] == {
        "name": load("service.yaml")["metadata"]["name"],
        "port": {"name": service["name"]},
    }


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_probe_is_answered(
    serve: Serve, site: Path, tmp_path: Path, probe: str
) -> None:
    """What the kubelet asks for is a page of --metrics."""
    path = tmp_path / "metrics"
    serve(site, "--metrics", f"unix:{path}")
    asked = container()[probe]["httpGet"]

    assert asked["port"] == "metrics"
    assert fetch(str(path), asked["path"]).status == 200


def test_names_agree() -> None:
    """The Service, the budget and the autoscaler mean the pods of the Deployment."""
    deployment = load("deployment.yaml")
    labels = pod()["metadata"]["labels"]
    spread = pod()["spec"]["topologySpreadConstraints"]
    target = load("autoscaler.yaml")["spec"]["scaleTargetRef"]

    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert load("service.yaml")["spec"]["selector"] == labels
    assert load("disruptions.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert all(each["labelSelector"]["matchLabels"] == labels for each in spread)
    assert target == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }


def test_there_is_time_to_drain() -> None:
    """The pod is killed only after all that it may take to leave."""
    sleep = container()["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod()["spec"]["terminationGracePeriodSeconds"] > sleep + config().grace


def test_is_restricted() -> None:
    """All that the profile "restricted" of the Pod Security Standards asks for."""
    pods, own = pod()["spec"]["securityContext"], container()["securityContext"]

    assert pods["runAsNonRoot"] is True
    assert pods["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}


def test_service_sets_no_option() -> None:
    """Variables that Kubernetes makes of a Service's name can't be options."""
    assert pod()["spec"]["enableServiceLinks"] is False
