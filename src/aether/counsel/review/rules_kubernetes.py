"""Checks of Kubernetes objects that serve or train models."""

import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document, Node
from aether.counsel.review.registry import Hit, on_document
from aether.counsel.review.settings import containers_of, engine_of, of_container
from aether.counsel.review.shell import commands

_ENGINE = re.compile(
    r"vllm|sglang|trtllm|tensorrt|lmdeploy|text-generation-inference|tritonserver|torchrun|deepspeed|accelerate"
)
_GPU = re.compile(r"nvidia\.com/(?:gpu|mig)|amd\.com/gpu|google\.com/tpu|habana\.ai/gaudi")


def _workers(document: Document) -> Iterator[tuple[Node, Node]]:
    """(object, container) of every container that runs an engine or a trainer."""
    for manifest in document.manifests:
        for container in containers_of(manifest):
            words = " ".join(
                str(n.value) for key in ("image", "command", "args") if (n := container.get(key)) is not None
            )
            if _ENGINE.search(words) and "cpu" not in words.lower():
                yield manifest, container


def _gpus(container: Node, part: str) -> float | None:
    node = container.get(f"resources.{part}")
    if node is None or not isinstance(node.value, dict):
        return None
    for key, value in node.value.items():
        if _GPU.search(str(key)):
            try:
                return float(value)
            except (TypeError, ValueError):
                return None
    return None


def _serves(container: Node) -> bool:
    settings = of_container(container)
    return settings is not None and settings.kind in ("vllm", "sglang", "trtllm", "lmdeploy", "tgi")


def _kind(manifest: Node) -> str:
    node = manifest.get("kind")
    return str(node.value) if node is not None else ""


@on_document("AE501")
def _no_gpu(document: Document) -> Iterator[Hit]:
    for _, container in _workers(document):
        if _gpus(container, "limits") is None and container.get("resources.claims") is None:
            yield Hit(container.line, "no GPU in resources.limits")


@on_document("AE502")
def _unequal(document: Document) -> Iterator[Hit]:
    for _, container in _workers(document):
        wanted, limit = _gpus(container, "requests"), _gpus(container, "limits")
        if wanted is not None and limit is not None and wanted != limit:
            yield Hit(container.line, f"{wanted:g} GPUs requested, {limit:g} as the limit")


@on_document("AE503")
def _not_ready(document: Document) -> Iterator[Hit]:
    for manifest, container in _workers(document):
        if (
            _kind(manifest) in ("Deployment", "StatefulSet")
            and _serves(container)
            and container.get("readinessProbe") is None
        ):
            yield Hit(container.line, "no readinessProbe: traffic comes in while the weights load")


@on_document("AE504")
def _killed_while_loading(document: Document) -> Iterator[Hit]:
    for _, container in _workers(document):
        probe = container.get("livenessProbe")
        if probe is None or container.get("startupProbe") is not None or not _serves(container):
            continue
        first = probe.get("initialDelaySeconds")
        delay = first.value if first is not None and isinstance(first.value, int) else 0
        if delay < 60:
            yield Hit(
                probe.line,
                f"a livenessProbe after {delay} s, and no startupProbe: the pod is killed while the weights load",
            )


@on_document("AE505")
def _floating_image(document: Document) -> Iterator[Hit]:
    for line, name in _images(document):
        last = name.rsplit("/", 1)[-1]
        fixed = "@sha256:" in name or "{{" in name or "$" in name
        if not fixed and (":" not in last or last.endswith((":latest", ":nightly"))):
            yield Hit(line, f"image {name} is another one tomorrow")


def _images(document: Document) -> Iterator[tuple[int, str]]:
    """(line, name) of the images of engines and trainers: of containers, compose services, Dockerfiles and `docker run`."""
    services = [
        one for one in document.services if (image := one.get("image")) is not None and engine_of(str(image.value))
    ]
    for container in (*(c for _, c in _workers(document)), *services):
        if (image := container.get("image")) is not None:
            yield image.line, str(image.value)
    if document.kind != "shell":
        return
    for number, line in enumerate(document.lines, 1):
        if (base := re.match(r"\s*FROM\s+(?:--\S+\s+)?(\S+)", line)) and engine_of(base[1]):
            yield number, base[1]
    for command in commands(document.text):
        if command.words[0].rpartition("/")[2] in ("docker", "podman", "nerdctl") and "run" in command.words:
            yield from ((command.line, word) for word in command.words if engine_of(word) and not word.startswith("-"))


@on_document("AE506")
def _small_shm(document: Document) -> Iterator[Hit]:
    for _, container in _workers(document):
        if (_gpus(container, "limits") or 0) > 1:
            mounts = container.get("volumeMounts")
            paths = [str(p.value) for m in (mounts.items() if mounts else []) if (p := m.get("mountPath")) is not None]
            if "/dev/shm" not in paths and "hostIPC" not in document.text:
                yield Hit(container.line, "several GPUs, and /dev/shm as small as it comes")
    for service in document.services:
        settings = of_container(service, ("entrypoint", "command"))
        shared, ipc = service.get("shm_size"), service.get("ipc")
        ranks = settings.number("tensor_parallel_size", "tp_size", "tp", "num_shard") if settings else None
        small = shared is None or re.fullmatch(r"\d+\s*(?:k|kb|m|mb)", str(shared.value).lower()) is not None
        if settings is not None and small and ipc is None and ((ranks or 1) > 1 or shared is not None):
            yield Hit(
                shared.line if shared else service.line, "an engine with little shared memory: shm_size, or ipc: host"
            )


@on_document("AE507")
def _no_memory_limit(document: Document) -> Iterator[Hit]:
    for _, container in _workers(document):
        limits = container.get("resources.limits")
        if limits is not None and isinstance(limits.value, dict) and "memory" not in limits.value:
            yield Hit(limits.line, "no limit on the host's memory")


@on_document("AE508")
def _literal_token(document: Document) -> Iterator[Hit]:
    for number, line in enumerate(document.lines, 1):
        if document.manifests and re.search(r"value:\s*[\"']?(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,})", line):
            yield Hit(number, "a token in the manifest")


@on_document("AE509")
def _degree_and_limit(document: Document) -> Iterator[Hit]:
    for manifest, container in _workers(document):
        settings, limit = of_container(container), _gpus(container, "limits")
        if settings is None or limit is None or _kind(manifest) == "LeaderWorkerSet":
            continue
        degree = settings.number("tensor_parallel_size", "tp_size", "tp", "num_shard") or 1
        stages = (settings.number("pipeline_parallel_size", "pp_size", "pp") or 1) * (
            settings.number("data_parallel_size", "dp_size", "dp") or 1
        )
        known = settings.kind in ("vllm", "sglang", "trtllm", "lmdeploy")
        if known and degree * stages != limit and (settings.has("tensor_parallel_size", "tp_size", "tp") or limit > 1):
            yield Hit(settings.line, f"{degree * stages:g} ranks of the engine, {limit:g} GPUs of the container")


@on_document("AE510")
def _privileged(document: Document) -> Iterator[Hit]:
    for _, container in _workers(document):
        node = container.get("securityContext.privileged")
        if node is not None and node.value is True:
            yield Hit(node.line, "privileged: true")


@on_document("AE511")
def _scaled_on_cpu(document: Document) -> Iterator[Hit]:
    engines = any(True for _ in _workers(document))
    for manifest in document.manifests:
        if _kind(manifest) == "HorizontalPodAutoscaler" and engines:
            metrics = manifest.get("spec.metrics")
            for metric in metrics.items() if metrics else []:
                name = metric.get("resource.name")
                if name is not None and name.value == "cpu":
                    yield Hit(name.line, "a model server is scaled by the CPU's load")


@on_document("AE512")
def _no_cache(document: Document) -> Iterator[Hit]:
    for manifest, container in _workers(document):
        if (
            _kind(manifest) in ("Deployment", "StatefulSet")
            and _serves(container)
            and container.get("volumeMounts") is None
        ):
            yield Hit(container.line, "no volume: every start fetches the weights again")
