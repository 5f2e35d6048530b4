"""What a number format costs in quality: nothing for the format that was published, a published table's value, or unknown.

The tables are those of `planning.scaling.compression`. They hold few models: for any other the answer is unknown with the
protocol that settles it, never a guess.
"""

from aether.planning.scaling.compression import PROTOCOL, in_distribution, quality_loss
from aether.spec.plan import Estimate

NATIVE = (
    ("deepseek-v3", "fp8"),
    ("deepseek-r1", "fp8"),
    ("kimi-k2", "fp8"),
    ("gpt-oss", "mxfp4"),
    ("minimax-m2", "fp8"),
)
"""Models whose published weights are in a low format (their model cards, from memory: assumed). Others are in 16 bits."""

_TABLES = {"fp8": ("fp8-dynamic", 8.0), "int8": ("int8-w8a8", 8.0), "int4": ("gptq-w4a16", 4.0)}
"""The published recipe that stands for a format."""


BITS = {"bf16": 16, "fp8": 8, "mxfp8": 8, "int8": 8, "fp8-kv8": 7, "mxfp4": 4, "nvfp4": 4, "int4": 4}
"""Of a weight, for the order of formats whose loss nobody published: the more bits, the less there is to prove (assumed); a
low cache comes after low weights alone."""


def native_format(model: str) -> str:
    """The format that the weights were published in."""
    return next((form for prefix, form in NATIVE if model.lower().startswith(prefix)), "bf16")


def quality_of(model: str, parameters: float, form: str, task: str, method: str = "full") -> Estimate:
    """The relative loss of quality against the published weights, or against the same training in bfloat16."""
    if method == "qlora":
        text = "nothing published covers four-bit frozen weights (NF4) of " + model
        return _estimate(
            None, text, "fine-tune with lora and with qlora, several seeds each; compare on held-out data, paired"
        )
    if form == "bf16" or (task == "serve" and form == native_format(model)):
        formula = "trained in bfloat16" if task != "serve" else "the published weights as they are"
        return _estimate(0.0, formula, None)
    if task == "serve" and form in _TABLES:
        method, bits = _TABLES[form]
        if in_distribution(method, bits, parameters, model):
            found = quality_loss(method, bits, parameters, model)
            return found.model_copy(update={"metric": "quality_loss", "unit": "fraction"})
    protocol = PROTOCOL
    if task != "serve":
        protocol = (
            f"train the same small model in bf16 and in {form}, several seeds each, to a hundredth of the tokens; compare "
            "held-out loss, paired, with an interval"
        )
    return _estimate(None, f"nothing published covers {model} in {form}", protocol)


def _estimate(value: float | None, formula: str, protocol: str | None) -> Estimate:
    return Estimate(
        metric="quality_loss",
        value=value,
        unit="fraction",
        interval=None,
        kind="computed",
        formula=formula,
        protocol=protocol,
    )
