"""Checks of training scripts, over their syntax trees. Each rule's row in `knowledge/review/` says why and has its examples."""

import ast
import re
from collections.abc import Iterator

from aether.counsel.review.documents import Document
from aether.counsel.review.python_facts import (
    called,
    calls,
    code_of,
    functions,
    has_keywords,
    hit_at,
    is_true,
    keyword,
    says,
    training_loops,
    trains,
    tree_of,
)
from aether.counsel.review.registry import Hit, on_document
from aether.counsel.review.settings import settings_of
from aether.spec.review import Edit


@on_document("AE101")
def _pure_fp16(document: Document) -> Iterator[Hit]:
    if says(document, r"GradScaler|loss_scale"):
        return
    yield from _loaded_in_fp16(document)
    for node in calls(tree_of(document), "Trainer", "Fabric"):
        precision = keyword(node, "precision")
        if isinstance(precision, ast.Constant) and precision.value == "16-true":
            yield hit_at(precision, "precision 16-true keeps weights and gradients in float16, without loss scaling")
    if not trains(document):
        return
    for node in calls(tree_of(document), "half"):
        if not node.args and _of_a_model(node):
            yield hit_at(node, f"{called(node)}() and a backward pass without loss scaling")
    for node in calls(tree_of(document), "to"):
        given = [*node.args, *(k.value for k in node.keywords if k.arg == "dtype")]
        if any(ast.unparse(a) in ("torch.float16", "torch.half") for a in given) and _of_a_model(node):
            yield hit_at(node, "the model's weights are float16 and a backward pass runs without loss scaling")


def _of_a_model(node: ast.Call) -> bool:
    """Whether a method is called on a model: by its name, or on what a loader or a class of models has just made."""
    return re.search(r"model|net\b", called(node)) is not None or (
        isinstance(node.func, ast.Attribute)
        and re.search(r"^\w*Model\w*[.(].*\)$", ast.unparse(node.func.value), re.DOTALL) is not None
    )


_HALVES = re.compile(r"(?:torch\.)?(?:float16|half)|['\"](?:float16|fp16|half)['\"]")


def _loaded_in_fp16(document: Document) -> Iterator[Hit]:
    """A model that is loaded in float16 and trained whole. Adapters keep weights of their own in float32."""
    if says(document, r"peft_config|get_peft_model|PeftModel|quantization_config|load_in_[48]bit"):
        return
    trained = {
        ast.unparse(argument)
        for node in ast.walk(tree_of(document))
        if isinstance(node, ast.Call) and called(node).endswith("Trainer")
        for argument in [*node.args[:1], *(k.value for k in node.keywords if k.arg == "model")]
    } | set(re.findall(r"(\w+)\.parameters\(\)", document.text) if trains(document) else [])
    for node in ast.walk(tree_of(document)):
        if not (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in trained
        ):
            continue
        for call in calls(node.value, "from_pretrained"):
            halves = [
                k
                for k in call.keywords
                if k.arg in ("dtype", "torch_dtype") and _HALVES.fullmatch(ast.unparse(k.value))
            ]
            if halves:
                yield hit_at(call, f"{node.targets[0].id} is loaded in float16 and trained as it is")


@on_document("AE102")
def _autocast_without_scaler(document: Document) -> Iterator[Hit]:
    if not trains(document) or says(document, r"GradScaler|Accelerator\("):
        return
    for node in calls(tree_of(document), "autocast"):
        given = [ast.unparse(a) for a in [*node.args, *(k.value for k in node.keywords)]]
        if any(a in ("torch.float16", "torch.half") for a in given):
            yield hit_at(node, "autocast to float16 without a GradScaler")
        elif given in (["'cuda'"], []) and (given or says(document, r"torch\.cuda\.amp")) and not has_keywords(node):
            yield hit_at(node, "autocast without a dtype is float16 on a GPU, and there is no GradScaler")


@on_document("AE103")
def _naive_attention(document: Document) -> Iterator[Hit]:
    tree = tree_of(document)
    scores: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _is_scores(node.value):
            scores |= {ast.unparse(t) for t in node.targets}
    for node in calls(tree, "softmax"):
        base = (
            node.args[0]
            if node.args and not isinstance(node.args[0], ast.Constant)
            else getattr(node.func, "value", None)
        )
        if base is not None and (_is_scores(base) or ast.unparse(base) in scores):
            yield hit_at(node, "attention by hand: softmax over the product of queries and keys")


def _is_scores(node: ast.expr) -> bool:
    text = ast.unparse(node)
    product = " @ " in text or re.search(r"\b(?:matmul|bmm|einsum)\(", text)
    return bool(
        product
        and re.search(r"transpose\(|\.mT\b|\.T\b|\bk\w*_?t\b|permute\(|einsum\('[^']*d[^']*'", text)
        and re.search(r"\bq\w*\b|query|queries", text, re.I)
    )


@on_document("AE104")
def _eager(document: Document) -> Iterator[Hit]:
    for settings in settings_of(document) if document.tree is None else ():
        given = settings.at("attn_implementation", "eager_attention")
        eager = given.value == "eager" or settings.on("eager_attention")
        if eager and settings.kind in ("hf-arguments", "axolotl"):
            yield Hit(given.line, "eager attention computes the whole score matrix", given.column)
    for node in ast.walk(tree_of(document)):
        if isinstance(node, ast.Call) and called(node).split(".")[-1] in ("from_pretrained", "from_config"):
            given = [keyword(node, "attn_implementation")]
        elif isinstance(node, ast.Dict):
            given = [v for k, v in zip(node.keys, node.values, strict=True) if k and ast.unparse(k) == _ATTENTION]
        else:
            continue
        for value in given:
            if isinstance(value, ast.Constant) and value.value == "eager":
                new = Edit(
                    line=value.lineno,
                    column=value.col_offset + 1,
                    end_line=value.end_lineno or value.lineno,
                    end_column=(value.end_col_offset or 0) + 1,
                    text='"sdpa"',
                )
                yield hit_at(value, 'attn_implementation="eager" computes the whole score matrix', new)


_ATTENTION = "'attn_implementation'"


@on_document("AE105")
def _torch_load(document: Document) -> Iterator[Hit]:
    for node in calls(tree_of(document), "torch.load"):
        given = keyword(node, "weights_only")
        if given is None and not has_keywords(node):
            end = Edit(
                line=node.end_lineno or node.lineno,
                column=node.end_col_offset or 1,
                end_line=node.end_lineno or node.lineno,
                end_column=node.end_col_offset or 1,
                text=", weights_only=True",
            )
            yield hit_at(node, "torch.load without weights_only", end)
        elif isinstance(given, ast.Constant) and given.value is False:
            yield hit_at(node, "torch.load with weights_only=False runs code from the file")


@on_document("AE106")
def _remote_code(document: Document) -> Iterator[Hit]:
    for node in ast.walk(tree_of(document)):
        if (
            isinstance(node, ast.Call)
            and called(node) not in ("dict", "LLM")
            and is_true(keyword(node, "trust_remote_code"))
        ):
            yield hit_at(node, f"{called(node)} with trust_remote_code=True runs code from the repository")
    for settings in settings_of(document):
        if settings.kind in ("axolotl", "llamafactory", "hf-arguments") and settings.on("trust_remote_code"):
            if document.tree is not None and settings.at("trust_remote_code").node is not None:
                continue  # a call, which is told above
            given = settings.at("trust_remote_code")
            yield Hit(given.line, "trust_remote_code runs code from the repository", given.column)


@on_document("AE107")
def _loss_on_padding(document: Document) -> Iterator[Hit]:
    if says(
        document,
        r"-100|ignore_index|DataCollatorFor(?:LanguageModeling|Seq2Seq|CompletionOnlyLM)|SFTTrainer|packing|pad_to_multiple|group_texts",
    ):
        return
    if not says(document, r"padding\s*=|pad_token|pad_sequence"):
        return
    for node in ast.walk(tree_of(document)):
        if (
            isinstance(node, ast.Assign)
            and re.search(r"labels", ast.unparse(node.targets[0]))
            and re.search(r"input_ids(?:'\]|\"\])?(?:\.clone\(\)|\.copy\(\))?$", ast.unparse(node.value))
        ):
            yield hit_at(node, "labels are the input ids as they are, padding included")


@on_document("AE108")
def _accumulation(document: Document) -> Iterator[Hit]:
    for loop in training_loops(tree_of(document)):
        text = ast.unparse(loop)
        in_steps = isinstance(loop, ast.For) and re.match(
            r"range\([\w.]*(?:accum|grad_acc)\w*\)", ast.unparse(loop.iter), re.I
        )
        if (
            (in_steps or re.search(r"%\s*\(?[\w.]*(?:accum|grad_acc)\w*", text, re.I))
            and not re.search(r"/=?\s*\(?[\w.\['\"]*(?:accum|grad_acc|num_items|tokens|count|denom|total)", text, re.I)
            and "accelerator" not in text
        ):
            yield hit_at(loop, "gradients are accumulated, but the loss is not divided by the number of steps")


@on_document("AE109")
def _decay_on_norms(document: Document) -> Iterator[Hit]:
    own = ["self"] if says(document, r"def configure_optimizers\(") else []
    models = "|".join(["[\\w.]*model[\\w.]*", *own, *map(re.escape, _language_models(tree_of(document)))])
    for node in calls(tree_of(document), "AdamW", "Lion"):
        decay = keyword(node, "weight_decay")
        whole = (
            bool(node.args) and re.fullmatch(rf"(?:{models})\.parameters\(\)", ast.unparse(node.args[0])) is not None
        )
        if whole and isinstance(decay, ast.Constant) and isinstance(decay.value, int | float) and decay.value > 0:
            yield hit_at(node, f"weight_decay={decay.value} on every parameter, norms and biases too")


def _language_models(tree: ast.Module) -> Iterator[str]:
    """Names that a transformer is given to, by the class that makes it."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Call)
            and re.search(
                r"Transformer|GPT|Llama|Bert|AutoModel|\w+LM\b|ViT|create_model\('(?:vit|deit|swin|beit)",
                f"{called(node.value)}({', '.join(map(ast.unparse, node.value.args[:1]))}",
            )
        ):
            yield node.targets[0].id


@on_document("AE110")
def _no_zero_grad(document: Document) -> Iterator[Hit]:
    for loop in training_loops(tree_of(document)):
        text = ast.unparse(loop)
        if says(document, r"\.step\(") and "zero_grad" not in code_of(document.text) and ".grad = None" not in text:
            yield hit_at(loop, "gradients are never cleared: no zero_grad in the script")


@on_document("AE111")
def _scheduler_first(document: Document) -> Iterator[Hit]:
    for loop in training_loops(tree_of(document)):
        steps = [(n.lineno, n) for n in ast.walk(loop) if isinstance(n, ast.Call) and called(n).endswith(".step")]
        optimiser = [line for line, n in steps if re.search(r"optim|scaler\b|opt\b", called(n))]
        for line, node in steps:
            if re.search(r"sched", called(node)) and optimiser and line < min(optimiser):
                yield hit_at(node, f"{called(node)} before the optimiser's step")


def _evaluations(document: Document) -> Iterator[ast.FunctionDef]:
    for function in functions(tree_of(document)):
        name = function.name.lower()
        if (
            re.search(
                r"^(?:eval|evaluate|validate|validation|test_epoch|estimate_loss|perplexity|accuracy|(?:compute|measure)_(?:perplexity|accuracy|loss))",
                name,
            )
            and _judged(function)
            and re.search(r"for .* in .*(?:load|batch|data)", ast.unparse(function))
        ):
            yield function


def _judged(function: ast.FunctionDef) -> str:
    """The name of the model that a function runs: `model`, a usual name of networks, or the parameter that it calls on data; empty for none."""
    called_names = [ast.unparse(n.func) for n in ast.walk(function) if isinstance(n, ast.Call) and n.args]
    parameters = {a.arg for a in function.args.args}
    for name in called_names:
        last = name.rsplit(".", 1)[-1]
        if last in ("model", "net", "network", "classifier", "encoder") and (last == "model" or last in parameters):
            return name
    return ""


@on_document("AE112")
def _no_no_grad(document: Document) -> Iterator[Hit]:
    for function in _evaluations(document):
        text = ast.unparse(function)
        if not re.search(r"no_grad|inference_mode|set_grad_enabled", text):
            yield hit_at(function, f"{function.name} runs the model with gradients")


@on_document("AE113")
def _no_eval_mode(document: Document) -> Iterator[Hit]:
    for function in _evaluations(document):
        text = ast.unparse(function)
        own = re.search(r"\.eval\(\)|\.train\(False\)", text)
        name = re.escape(_judged(function))
        if not own and re.search(rf"\.train\(\)(?=[\s\S]*\b{name}\()", text):
            yield hit_at(function, f"{function.name} sets the model to train() and then evaluates it")
        elif not re.search(r"\.eval\(\)|\.train\(False\)", code_of(document.text)):
            yield hit_at(function, f"{function.name} does not set the model to eval()")


@on_document("AE114")
def _no_clipping(document: Document) -> Iterator[Hit]:
    for loop in training_loops(tree_of(document)):
        if says(document, r"\.step\(") and not says(document, r"clip_grad|clip_by_global_norm|max_grad_norm|max_norm"):
            yield hit_at(loop, "the gradient is not clipped")


@on_document("AE115")
def _no_seed(document: Document) -> Iterator[Hit]:
    if trains(document) and not says(document, r"manual_seed|set_seed|seed_everything|seed\s*="):
        yield Hit(next(training_loops(tree_of(document))).lineno, "a training without a seed")


@on_document("AE116")
def _no_checkpoint(document: Document) -> Iterator[Hit]:
    if trains(document) and not says(
        document, r"\.save\(|save_pretrained|save_file|save_state|save_checkpoint|checkpoint|state_dict\(\)"
    ):
        yield Hit(next(training_loops(tree_of(document))).lineno, "a training that saves nothing")


@on_document("AE117")
def _no_warmup(document: Document) -> Iterator[Hit]:
    lightning = next((f for f in functions(tree_of(document)) if f.name == "configure_optimizers"), None)
    if (
        (trains(document) or lightning)
        and says(document, r"\bAdamW?\(")
        and says(document, r"transformer|Transformer|attention|Attention|AutoModel|GPT|llama")
        and not says(document, r"warm_?up|sched|OneCycle|get_lr|LambdaLR")
    ):
        yield Hit(
            (lightning or next(training_loops(tree_of(document)))).lineno,
            "a transformer is trained at a constant rate, without warm-up or decay",
        )


@on_document("AE118")
def _double_softmax(document: Document) -> Iterator[Hit]:
    for scope in [tree_of(document), *functions(tree_of(document))]:
        shares = {
            ast.unparse(part.targets[0])
            for part in scope.body
            if isinstance(part, ast.Assign)
            and isinstance(part.value, ast.Call)
            and called(part.value).endswith("softmax")
        }
        for node in calls(scope, "cross_entropy") if shares or scope is tree_of(document) else ():
            first = node.args[0] if node.args else None
            if (isinstance(first, ast.Call) and called(first).endswith("softmax")) or (
                first and ast.unparse(first) in shares
            ):
                yield hit_at(node, "cross_entropy over a softmax: it takes logits, and applies log-softmax itself")
