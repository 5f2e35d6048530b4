"""Faults that stand where a script's names, a shell's variables or a compose file put them."""

import pytest

from aether.counsel.review.engine import review_text
from aether.counsel.review.fixes import apply_edits
from aether.counsel.review.shell import commands


def found(text, name="train.py"):
    return {(f.rule, f.line) for f in review_text(text, name)}


def rules(text, name="train.py"):
    return {rule for rule, _ in found(text, name)}


DATACLASS = """@dataclass
class Script:
    rank: int = 8
    alpha: int = field(default=512)
args = HfArgumentParser(Script).parse_args_into_dataclasses()[0]
config = LoraConfig(r=args.rank, lora_alpha=args.alpha)
"""
ARGPARSE = """p.add_argument("--attn", default="eager")
model = AutoModelForCausalLM.from_pretrained(name, attn_implementation=args.attn)
"""


def test_a_value_is_told_where_it_is_written_and_mended_there():
    assert ("AE215", 4) in found(DATACLASS)
    (finding,) = [f for f in review_text(ARGPARSE, "train.py") if f.rule == "AE104"]
    assert finding.line == 1
    assert apply_edits(ARGPARSE, [finding.edit]) == ARGPARSE.replace('"eager"', '"sdpa"')


@pytest.mark.parametrize(
    "text, rule",
    [
        ('BETA = 5.0\ncommon = {"output_dir": "o", "beta": BETA}\nargs = DPOConfig(**common)\n', "AE208"),
        ('engine = dict(model="google/gemma-2-9b-it", tensor_parallel_size=3)\nllm = LLM(**engine)\n', "AE401"),
        ('SHARE = float(os.getenv("SHARE", "0.99"))\nllm = LLM(model="m", gpu_memory_utilization=SHARE)\n', "AE404"),
        ("def start(norm=0.0):\n    return TrainingArguments(output_dir='o', max_grad_norm=norm)\n", "AE212"),
        (
            "types = {'half': torch.float16}\nname = 'half'\nfor x in data:\n"
            "    with torch.autocast('cuda', dtype=types[name]):\n        loss = model(x)\n    loss.backward()\n    opt.step()\n",
            "AE102",
        ),
        ('cmd = ["vllm", "serve", "google/gemma-2-9b-it"]\ncmd += ["--tensor-parallel-size", "3"]\n', "AE401"),
        ('subprocess.run(f"vllm serve google/gemma-2-9b-it --tensor-parallel-size {3}", shell=True)\n', "AE401"),
        ('run(["accelerate", "launch", "sft.py", "--num_train_epochs", "2", "--max_grad_norm", "0"])\n', "AE212"),
    ],
)
def test_values_of_python(text, rule):
    assert rule in rules(text)


@pytest.mark.parametrize(
    "text",
    [
        "BETA = 5.0\nBETA = 0.1\nargs = DPOConfig(output_dir='o', beta=BETA)\n",
        "def f(beta):\n    return DPOConfig(output_dir='o', beta=beta)\nbeta = 5.0\n",
        "p.add_argument('--fp16', action='store_true')\nargs = DPOConfig(output_dir='o', fp16=a.fp16, bf16=True)\n",
        'cmd = ["vllm", "serve", "m"]\nif args.eager:\n    cmd += ["--enforce-eager"]\n',
        "beta = 5.0\nfor beta in betas:\n    args = DPOConfig(output_dir='o', beta=beta)\n",
    ],
)
def test_what_is_not_known_is_not_told(text):
    assert not {"AE208", "AE201", "AE407"} & rules(text)


SHELL = """TP=${TP:-6}
ARGS=(
  --tensor-parallel-size $TP  # too many
  --enforce-eager
)
EXTRA="--gpu-memory-utilization 0.99 \\
  --trust-remote-code"
vllm serve google/gemma-2-9b-it "${ARGS[@]}" \\
  $EXTRA
"""


def test_variables_and_arrays_of_a_shell():
    assert {"AE401", "AE404", "AE406", "AE407"} <= rules(SHELL, "serve.sh")
    (command,) = commands(SHELL)
    assert command.line == 8 and command.words[3:5] == ("--tensor-parallel-size", "6")


def test_what_a_command_gives_stays_unknown_and_an_open_quotation_ends():
    (first, second) = commands("N=$(nproc)\necho $N; echo 'two; three'\n")
    assert first.words == ("echo", "$N") and second.words == ("echo", "two; three")
    assert commands("it's\nvllm serve m\n")[-1].words == ("vllm", "serve", "m")


COMPOSE = """x-gpu: &gpu
  image: vllm/vllm-openai:latest
services:
  llm:
    <<: *gpu
    command: --model google/gemma-2-9b-it --tensor-parallel-size 3 --host 0.0.0.0
    environment: [HF_TOKEN=hf_ABCDefghIJKLmnopQRSTuvwxYZ0123456789]
"""


def test_compose_files():
    assert {"AE401", "AE505", "AE506", "AE131"} <= rules(COMPOSE, "docker-compose.yml")
    assert "AE405" not in rules(COMPOSE, "docker-compose.yml")


DOCKERFILE = """FROM lmsysorg/sglang:latest
ENV TP=3
RUN pip install transformers
ENTRYPOINT ["python3", "-m", "sglang.launch_server"]
CMD ["--model-path", "google/gemma-2-9b-it", "--tp", "$TP"]
"""


def test_dockerfiles():
    assert {("AE505", 1), ("AE601", 3), ("AE401", 5)} <= found(DOCKERFILE, "Dockerfile")


def test_pods_of_any_kind_of_object():
    job = """apiVersion: kubeflow.org/v1
kind: PyTorchJob
spec:
  pytorchReplicaSpecs:
    Worker:
      template:
        spec:
          containers:
            - image: registry.local/train:latest
              command: [torchrun, train.py]
              resources: {requests: {nvidia.com/gpu: 8}, limits: {nvidia.com/gpu: 4}}
"""
    assert {"AE502", "AE505", "AE506"} <= rules(job, "job.yaml")


def test_dependencies_of_a_project():
    text = (
        '[project]\ndependencies = [\n  "torch==2.3.1",\n  "autoawq>=0.2",\n]\n[tool.poetry.dependencies]\nvllm = "*"\n'
    )
    assert {("AE604", 3), ("AE602", 4), ("AE601", 7)} <= found(text, "pyproject.toml")
    assert not rules(text, "other.toml")


def test_flags_of_trainers_by_method():
    text = "trl dpo --learning_rate 1e-4 --num_train_epochs 1 --beta 20\n"
    assert {"AE208", "AE209"} <= rules(text, "dpo.sh")
    assert not {"AE208", "AE209"} & rules("python other.py --learning_rate 1e-4 --beta 20\n", "x.sh")


def test_keys_of_adapters_in_configuration_files():
    text = "base_model: m\nadapter: lora\ndatasets: []\nlora_r: 8\nlora_alpha: 512\nlora_dropout: 0.5\n"
    assert {"AE215", "AE216"} <= rules(text, "axolotl.yaml")
    text = "stage: dpo\nfinetuning_type: full\nmodel_name_or_path: m\nlearning_rate: 1.0e-3\n"
    assert {"AE209"} <= rules(text, "lf.yaml")


def test_helpers_and_other_names_of_models():
    text = """def make(split):
    return DataLoader(data[split], 64)
train, held = make("train"), make("val")
def validate(net, loader):
    for x, y in loader:
        net(x)
"""
    assert {"AE119", "AE112", "AE113"} <= rules(text)
    softmax = "def step(x, y):\n    p = x.softmax(-1)\n    return F.cross_entropy(p, y)\n"
    assert "AE118" in rules(softmax) and "AE118" not in rules(softmax.replace("cross_entropy(p", "cross_entropy(x"))


def test_lightning():
    text = """class Model(L.LightningModule):
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.1)  # of a transformer
trainer = L.Trainer(precision="16-true")
model = AutoModel.from_pretrained("m")
"""
    assert {"AE101", "AE109", "AE117"} <= rules(text)


@pytest.mark.parametrize(
    "name, text, rule",
    [
        ("train.py", "tok.pad_token = tok.eos_token\nTrainer(m, a, train_dataset=d, data_collator=DataCollatorForLanguageModeling(tok, mlm=False)).train()\n", "AE122"),
        ("train.py", "args = DPOConfig(output_dir='out')\n", "AE225"),
        ("sft.yaml", "stage: sft\nfinetuning_type: lora\ntemplate: qwen\ntrain_on_prompt: true\n", "AE323"),
        ("sft.yaml", "stage: sft\nfinetuning_type: lora\ntemplate: qwen\nval_size: 0.0\n", "AE321"),
        ("pretrain.sh", "torchrun pretrain_gpt.py --num-layers 2 --lr 1e-4 --train-iters 10 --eval-iters 0\n", "AE379"),
        ("serve.sh", "vllm serve meta-llama/Llama-3.1-70B-Instruct --quantization awq\n", "AE408"),
        ("serve.sh", "python -m sglang.launch_server --model-path x/y --disable-cuda-graph\n", "AE407"),
        ("serve.sh", "python -m sglang.launch_server --model-path Qwen/Qwen2.5-32B-Instruct --enable-ep-moe\n", "AE417"),
        ("merge.yaml", "merge_method: dare_tie\nmodels:\n  - model: a/b\n    parameters: {density: 53}\n", "AE341"),
        ("merge.yaml", "merge_method: dare_tie\nmodels:\n  - model: a/b\n    parameters: {density: 53}\n", "AE342"),
    ],
)  # fmt: skip
def test_the_same_fault_in_the_words_of_other_tools(name, text, rule):
    assert rule in {finding.rule for finding in review_text(text, name)}


@pytest.mark.parametrize(
    "name, text, rule",
    [
        ("train.py", "model.config.pad_token_id = tok.eos_token_id\nTrainer(m, a, train_dataset=d, data_collator=DataCollatorForLanguageModeling(tok, mlm=False)).train()\n", "AE122"),
        ("sft.yaml", "stage: sft\nfinetuning_type: lora\ntemplate: qwen\nval_size: 0.0\neval_dataset: held\n", "AE321"),
        ("sft.yaml", "stage: sft\nfinetuning_type: lora\ntemplate: qwen\n", "AE321"),
        ("serve.sh", "vllm serve Qwen/Qwen2.5-7B-Instruct-AWQ --quantization awq\n", "AE408"),
        ("serve.sh", "vllm serve Qwen/Qwen2.5-7B-Instruct --quantization fp8\n", "AE408"),
        ("serve.sh", "vllm serve someone/packed --quantization awq\n", "AE408"),
    ],
)  # fmt: skip
def test_what_looks_like_it_and_is_none(name, text, rule):
    assert rule not in {finding.rule for finding in review_text(text, name)}
