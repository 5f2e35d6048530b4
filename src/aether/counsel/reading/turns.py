"""Turns of speech that ask for an intent without its verb: a sign and what befell it, a size and a wish, a judgement and a file.

Each pattern holds what words may stand between its parts, so that a paraphrase is read too. From our own experience: assumed.
"""

from aether.counsel.reading.patterns import Lazy
from aether.spec.answer import Intent

_SIGNAL = (
    r"\b(?:loss(?:es)?|logps?|margins?|advantages?|(?:q?lora|sft|dpo|ppo|grpo|kto|orpo|simpo|rlhf|pretraining|fine-?tun\w+)|ppl|perplexity|grad(?:ient)?s?|norms?|rewards?|entropy|kl|accuracy|acc|score|throughput|tput|tokens?(?:/s(?:ec)?| per second| a second)|tok/s|tps|mfu|"
    r"utili[sz]ation|gpu util\w*|gpus?|step[ -]time|iterations?|steps?|vram|memory|training|runs?|jobs?|outputs?|generations?|completions?|win[ -]?rate|ranks?|workers?|latency|ttft|curves?|eval|validation|"
    r"server|pod|container|checkpoints?|it|everything|model|answers?|responses?|network|policy|bot|dataloader|data ?loading|epochs?)\b"
)
_MOVES = (
    r"\b(?:spik(?:es?|ed|ing)|diverg(?:es?|ed|ing)|explod(?:es?|ed|ing)|blows? up|blew up|blowing up|go(?:es|ing)? (?:up|down|to (?:nan|zero|inf\w*)|nan|crazy|wild|bad)|gone (?:up|down|bad|nan)|went (?:up|down|to|nan|crazy|bad)|"
    r"climb(?:s|ed|ing)|drop(?:s|ped|ping)|fell|f[ae]ll(?:s|ing)|sank|sinks|jump(?:s|ed|ing)|collaps(?:es?|ed|ing)|(?:is |are |gets? |got |stays? |stayed |seems? )?stuck|(?:is |are |stays? |stayed |remains? |looks? |totally |completely )+flat|"
    r"flatlin\w+|plateau\w*|stall(?:s|ed|ing)?|hangs?|hung|freez\w+|froze|crash(?:es|ed|ing)?|dies|died|(?:gets? |got |is |was |are |keeps? (?:getting |being )?)killed|slow(?:s|ed)? (?:down|to a crawl)|crawl(?:s|ed|ing)|(?:shoots?|shot|skyrockets?|creeps?|crept) up|balloon(?:s|ed|ing)|(?:is|are|gets?|got|became|runs?|so|very|too|much) (?:so |very |too |much |way |really )?slow(?:er)?|"
    r"(?:is|are|stays?|stayed|remains?) (?:always |constantly |still |exactly )?(?:at )?(?:zero|0(?:\.0+)?|constant|the same|negative)\b|grows? and grows?|keeps? (?:grow|ris|climb|fall|dropp|increas)ing|oscillat\w+|unstable|(?:is|are|was|becomes?|became|turns?|turned|shows?|says?|=)\s*(?:\w+ )?(?:nans?|inf)\b|nans?\b|halved|degrad(?:es|ed|ing)|(?:gets?|got|getting|is|are|much|became) (?:much |a lot |way )?worse|through the roof|forg[eo]ts? (?:everything|how)|forgot (?:everything|how|most)|(?:endless|infinite|constant|never-?ending)(?:ly)? (?:repetition|loops?|repeat\w*)|(?:won't|doesn't|doesnt|dont|don't|does not|do not|isn't|is not|not|never|no longer|refuses to|stopped) "
    r"(?:\w+ )?(?:decreas|improv|converg|learn|go down|going down|mov|drop|chang|start|respond|fall|budg)\w*|repeat(?:s|ing) (?:itself|the same|tokens?)|gibberish|garbage|rubbish|nonsense|idle|out of memory|oom(?:s|ed|ing)?|times? out|timed out|(?:only|just|at) (?:about |around |ca\.? )?\d+ ?(?:%|percent)|"
    r"\d+ ?(?:%|percent|x|times) (?:lower|higher|slower|worse|less)|(?:cut |down )?by half|half (?:of )?what)"
)
_MOVE_WORDS = (
    "spik|diverg|explod|blow|blew|go|gone|went|climb|drop|fell|fall|fael|sank|sink|jump|collaps|stuck|flat|crawl|shoot|shot|skyrocket|creep|crept|balloon|plateau|stall|hang|hung|freez|froze|crash|dies|died|killed|slow|zero| 0|constant|negative|same|"
    "grow|keep|oscillat|unstable|nan|inf|halved|degrad|worse|roof|forg|endless|repet|loop|repeat|n't|dont|doesnt|not|never|no longer|refuse|stop|gibberish|garbage|rubbish|nonsense|idle|memory|oom|"
    "time out|times out|timed out|%|percent| lower| higher| less|half"
)
"""One of them stands in each of the moves."""
_LOWER_SIZE = r"\b(?:reduc\w+|cut(?:ting)?|lower(?:ing)?|trim\w*|slim\w*|halv\w+|sav\w+|minimi[sz]\w+|shav\w+)\b.{0,40}\b(?:size|memory|vram|footprint|gigabytes|weights|parameters)\b"
TURNS: dict[Intent, tuple[Lazy, ...]] = {
    "diagnose": (
        Lazy(rf"{_SIGNAL}(?![^.;?!\n]{{0,30}}\b(?:at most|no more than|under|below|must|should)\b)[^.;!\n]{{0,45}}?{_MOVES}", _MOVE_WORDS),
        Lazy(r"\b(?:val\w*|eval\w*|test|held-?out)[ -]loss\s*(?:is|of|at|=|:)?\s*\d[\d.]*[^.;\n]{0,20}?\btrain\w*[ -]loss\s*(?:is|of|at|=|:)?\s*\d|\btrain\w*[ -]loss\s*(?:is|of|at|=|:)?\s*\d[\d.]*[^;\n]{0,20}?\b(?:val\w*|eval\w*|test)[ -]loss\s*(?:is|of|at|=|:)?\s*\d", "loss"),
        Lazy(r"\bwhy (?:is|are|does|do|did|has|would|am)\b.{0,12}\b(?:my|our)\b", "why"),
        Lazy(r"\bwhy (?:is|are|does|do|did|has|have)\b.{0,40}\b(?:suddenly|all of a sudden|since|lately|after)\b", "why"),
        Lazy(r"\bwhat(?:'s| is| went| has gone|s| might be| could be)\b.{0,10}\b(?:wrong|happening|going on|broken|causing)\b", "what"),
        Lazy(r"\bwhat (?:caus|happened)\w*|[,.]\s*why\s*[?!.]*\s*$|\bbottleneck\b.{0,3}\?", "what|why|bottleneck"),
        Lazy(rf"{_SIGNAL}.{{0,20}}?\b(?:from )?\d[\d.,]*\s?%?\s?(?:->|=>|→|to)\s?\d[^.;]{{0,40}}\b(?:after|since|when|why|once)\b|\butil\w*\s*[:=]?\s*\d+\s?%", "after|since|when|why|once|util"),
        Lazy(r"\b(?:oom|out[ -]of[ -]memory|cuda error|nccl|segfault|sigkill|sigterm|traceback|deadlock|timeout|hangs|no idea why|don't know why|makes no sense)\b(?!.{0,20}\b(?:avoid|prevent|without)\b)", "oom|out of memory|out-of-memory|cuda error|nccl|segfault|sigkill|sigterm|traceback|deadlock|timeout|hangs|no idea why|don't know why|makes no sense"),
    ),
    "review": (
        Lazy(r"\b(?:review|check|audit|vet|inspect|critique|examine|verify|validate|proofread|go (?:over|through)|comment on|feedback on|opinion on|thoughts on)\b.{0,25}\b(?:my|this|these|the|our|following)\b.{0,25}\b(?:config\w*|scripts?|yaml|json|code|file|manifest|args|arguments|settings|setup|hyperparameters|dockerfile|requirements)\b", "review|check|audit|vet|inspect|critique|examine|verify|validate|proofread|go over|go through|comment on|feedback on|opinion on|thoughts on"),
        Lazy(r"\bis (?:this|my|our|the)\b.{1,30}\b(?:ok|okay|right|correct|fine|sane|reasonable|safe)\b", "is this|is my|is our|is the"),
    ),
    "merge": (
        Lazy(r"\b(?:fold|bake|burn|absorb|put|fuse)\b.{0,40}\b(?:adapters?|loras?|deltas?)\b.{0,40}\b(?:into|back|in)\b", "adapter|lora|delta"),
        Lazy(r"\w*merg(?:e|es|ed|ing)\b", "merg"),
        Lazy(r"\b(?:averag\w+|interpolat\w+|mix(?:ing)?|blend\w*|combin\w+|fus(?:e|ing)|join(?:ing)?)\b.{1,50}\b(?:checkpoints?|ckpts?|weights|models|fine-?tun\w+|fts|adapters|variants|experts)\b", "averag|interpolat|mix|blend|combin|fus|join"),
        Lazy(r"\b(?:model|checkpoint|weight|lora|uniform|greedy)s?[- ]soups?\b|\bsoup (?:of|from|the|my|our|these|those|them)\b|^\W*soup\b", "soup"),
    ),
    "evaluate": (
        Lazy(r"\b(?:beats?|won(?!')|wins?|lost|preferred|outvot\w+)\b[^.;\n]{0,40}?(?<![\w.])\d[\d,]*\s*(?:times\s*)?(?:to|-|:|vs\.?|against|and|,)\s*(?:(?:lost|loses?|lose)\s+)?\d[\d,]*(?![\w.]*\d)(?!\s*(?:%|percent|ms|s|gb|tok\w*|x|usd)\b)|\b\d+\s*(?:wins|votes)\b[^.;\n]{0,25}?\b\d+\s*(?:loss(?:es)?|votes|ties)\b", "beat|won|win|lost|preferred|outvot|votes"),
        Lazy(r"\bcontaminat\w*|\bdecontaminat\w*|\btell\b.{1,50}\bapart\b|\bbetter than (?:the|its) base\b|\bevaluate (?:both|them)\b", "contaminat|apart|better than|evaluate both|evaluate them"),
        Lazy(r"\b(?:measure|test|quantify|assess|rate|grade|judge|score|check|verify|prove)\b(?! set).{0,40}\b(?:quality|accuracy|hallucinat\w*|bias(?:es|ed)?|robustness|performance on|skills?|capabilit\w+|toxicity|safety|regress\w*|perplexity|factual\w*|calibration|better|worse|it|them)\b", "measure|test|quantify|assess|rate|grade|judge|score|check|verify|prove"),
        Lazy(r"\bis (?:that|this|it|the (?:difference|gain|gap|improvement)|a .{1,30})\b.{0,15}\b(?:real|noise|significant|meaningful|luck|chance)\b|\b(?:just|only|by|statistical) (?:noise|luck|chance)\b|\b(?:noise|luck|chance|real) or (?:not|noise|luck|chance|real)\b", "real|noise|significan|meaningful|luck|chance"),
        Lazy(r"\b(?:sample size|statistical power|\d+ ?% power|error bars?|confidence intervals?|p-?value|bootstrap|inter-?annotator|annotator agreement|significance)\b", "sample size|statistical power|% power|error bar|confidence interval|p-value|pvalue|bootstrap|annotator|significance"),
        Lazy(r"\bhow many\b.{0,20}\b(?:items?|questions?|samples?|prompts?|examples?|annotators?|raters?|seeds?|votes?|comparisons?|problems?)\b.{0,40}\b(?:detect|tell|need|see|show|distinguish|resolve|enough)\b|\b(?:detect|distinguish|resolve)\b.{0,30}\b(?:difference|diff|gap|gain|points?|pts?|pp)\b", "how many|detect|distinguish|resolve"),
        Lazy(r"\b(?:scores?|scored|gets?|got|reach(?:es|ed)?)\b.{0,25}\d.{0,40}\b(?:vs\.?|versus|against|old|before|baseline|other|previous)\b.{0,25}\d", "score|get|got|reach"),
        Lazy(r"\b(?:llm[ -]as[ -]a?[ -]?judge|judge bias|judges?|blind test|side[- ]by[- ]side (?:test|study)|a/b test|win[ -]rates? (?:of|against|for)|leak(?:s|ed|age)?\b.{0,20}\b(?:test|benchmark|training))\b", "judge|blind test|side by side|side-by-side|a/b test|win rate|win-rate|leak"),
        Lazy(r"\bhow (?:good|accurate|reliable|safe|robust|well|capable|toxic|biased)\b.{0,30}\b(?:is|are|does|do)\b", "how good|how accurate|how reliable|how safe|how robust|how well|how capable|how toxic|how biased"),
        Lazy(r"\b(?:los[est]+|worse|drop\w*|hurt\w*|degrad\w+|keeps?|match\w*|suffer\w*)\b.{0,30}\b(?:quality|accuracy|math|coding|skills?|scores?)?.{0,20}\b(?:against|compared (?:to|with)|vs\.?|versus|relative to|than)\b.{0,15}\b(?:the )?(?:original|base|unquanti[sz]ed|bf16|fp16|full[- ]precision|parent|teacher)\b", "los|worse|drop|hurt|degrad|keep|match|suffer"),
        Lazy(r"^\s*(?:did|has|have)\b.{0,40}\b(?:quanti[sz]\w+|prun\w+|merg\w+|distill\w*|fine-?tun\w+)\b.{0,40}\b(?:hurt|harm\w*|damage\w*|degrade\w*|cost|lose|lost|worse\w*|break|broke\w*)\b", "did|has|have"),
    ),
    "compress": (
        Lazy(r"\bmake\b.{1,40}\b(?:fit|smaller|lighter)\b|\b(?:get|bring)\b.{1,40}\b(?:under|below|into|down to)\s*\d+(?:\.\d+)?\s*g|\b(?:int4|int8|fp8|nvfp4|4-bit|8-bit)\s+(?:weights|version|checkpoint|quants?)\b", "make|get|bring|int4|int8|fp8|nvfp4|4-bit|8-bit"),
        Lazy(r"\b(?:convert|export|turn|go|port)\w*\b.{0,60}\b(?:gguf|int[48]|fp8|[2-8][ -]?bits?|nvfp4|mxfp4|awq|gptq|quants?)\b", "gguf|int4|int8|fp8|bit|nvfp4|mxfp4|awq|gptq|quant"),
        Lazy(r"(?:->|=>|→)\s*(?:int[48]|fp8|[2-8][ -]?bits?|nvfp4|mxfp4|gguf|awq|gptq)\b", "->|=>|→"),
        Lazy(r"\btoo (?:big|large|heavy|fat)\b.{0,30}\b(?:for|to fit|to run)\b|\bhow small\b|\bsmall(?:er|est)\b.{0,20}\b(?:version|variant|build|file|copy|possible)\b|^\s*small(?:er|est)\b", "too big|too large|too heavy|too fat|small"),
        Lazy(_LOWER_SIZE, "reduc|cut|lower|trim|slim|halv|sav|minimi|shav"),
        Lazy(r"\bw[248]a(?:16|8|4)\b|\bq[2-8]_(?:k|0|1)\w*|\bteacher\b.{0,60}\bstudent\b|\bstudent\b.{0,60}\bteacher\b|\binto a\b.{0,20}\bstudent\b|\b(?:remove|drop|skip|cut)\b.{0,15}\b(?:layers|heads|experts)\b", "w2a|w4a|w8a|_k|_0|_1|student|remove|drop|skip|cut"),
    ),
    "align": (
        Lazy(r"\b(?:stop|quit|keep .{1,20} from)\b.{0,25}\b(?:being|saying|halluc\w+|refus\w+|rambl\w+|mak\w+ things up|apologi[sz]\w+|swear\w*|lying|flatter\w*)\b", "stop|quit|keep"),
        Lazy(r"\bmake\b.{0,40}\b(?:(?:more|less|be more|be less) (?:helpful|verbose|polite|honest|toxic|harmful|harmless|concise|friendly|sycophan\w+|formal|aligned|truthful|cautious)|safer|politer|nicer|refuse|behave|friendlier|honest)\b", "make"),
        Lazy(r"\b(?:preferences?|pairwise|preferred|thumbs|up-?votes?|ratings?|chosen|likes? and dislikes?)\b.{0,40}\b(?:pairs?|data|labels?|feedback|votes?|rejected(?! (?:logps?|log-?probs?|rewards?|margins?))|comparisons?|ratings?|answers?|responses?|logs?|down)\b", "preference|pairwise|preferred|thumbs|up-vote|upvote|rating|chosen|dislike"),
        Lazy(r"\b(?:better|good|best|winning|right)\b.{0,10}\b(?:and|or|vs\.?)\b.{0,10}\b(?:worse|bad|worst|losing|wrong) (?:answers?|responses?|completions?|ones?|examples?)", "worse|bad|worst|losing|wrong"),
        Lazy(r"\b(?:marked|labell?ed|tagged|rated|flagged|judged)\s+(?:as\s+)?(?:good|bad|helpful|unhelpful|better|worse|liked|disliked)\b", "marked|label|tagged|rated|flagged|judged"),
        Lazy(r"\b(?:rl|reinforcement learning)\b.{0,60}\b(?:rewards?|tests|verif\w+|math|code|on|for|with)\b|\bhuman feedback\b", "rl|reinforcement|human feedback"),
    ),
    "continue": (
        Lazy(r"\bfrom \d+k to \d+k (?:tokens )?(?:of )?(?:context|ctx|window)\b", "context|ctx|window"),
        Lazy(r"\b(?:continu\w+|cont\.?|keep(?:ing)?|further|resum\w+|domain[ -]adapt\w*|mid|second[ -]stage|additional|extra)[ -](?:the |to |on )?(?:pre[ -]?)?train\w*", "train"),
        Lazy(r"\btrain\w*\b.{0,30}\b(?:further|some more|longer)\b", "train"),
        Lazy(r"\b(?:more|additional|extra|further|another|new)\b[^,.;]{0,25}\b(?:tokens|toks?)\b|\b(?:tokens|toks?)\b[^,;]{0,25}(?<!no )(?<!not )\bmore\b", "more|additional|extra|further|another|new"),
        Lazy(r"\b(?:extend\w*|extension|stretch\w*|lengthen\w*|grow\w*|expand\w*|enlarg\w*|increas\w+|push\w*|widen\w*)\b.{0,40}\b(?:context|ctx|window|sequence)\b|\b(?:context|ctx)[ -](?:window |length )?(?:extension|expansion)|\b(?:ctx|context)\b.{0,20}\d+k?\s*(?:->|to)\s*\d+", "context|ctx|window|sequence"),
    ),
    "finetune": (
        Lazy(r"\bteach\s+(?!me\b|us\b|yourself\b)[\w.-]*\d", "teach"),
        Lazy(r"\b(?:train|tune|adapt|fit|speciali[sz]e|customi[sz]e|personali[sz]e)\b.{0,60}\b(?:to our|on our|to my|on my|for our|to the style|to write|to answer|to speak|to extract|to follow|to classify)\b", "train|tune|adapt|fit|speciali|customi|personali"),
        Lazy(r"\b(?:pick up|adopt|learn|absorb|know|speak|use|understand)\b[^.;\n]{0,20}\b(?:our|my)\b[^.;\n]{0,20}\b(?:terminology|style|tone|jargon|vocabulary|domain|language|voice|wording|terms)\b|\b(?:answer|write|sound|talk|respond|reply|speak)\w*\s+(?:just\s+)?(?:like|as|in the style of)\s+(?:our|my)\b", "our|my"),
        Lazy(r"\b(?:fft|ft)\b|\bfine[ -]?tun\w*", "ft|tun"),
    ),
    "pretrain": (
        Lazy(r"\b(?:from|in)[ -](?:scratch|zero|random (?:init\w*|weights))\b|\bscratch\b", "scratch|zero|random"),
        Lazy(r"\b(?:scaling[ -]law|compute[ -]optimal|chinchilla[ -]optimal)\b|\bfrom random init\w*|\bflops?\b(?!/s)", "scaling|compute|chinchilla|random init|flop"),
    ),
    "build": (
        Lazy(r"\b(?:tiny|small|little|mini|micro|toy)\b.{0,30}\b(?:lm|model|auto-?complet\w*|complet\w*|generator|classifier|predictor|chatbot)\b", "tiny|small|little|mini|micro|toy"),
    ),
    "serve": (
        Lazy(r"\b(?:self[ -]?host\w*|on[ -]prem\w*|in production|to production|into prod\w*|go(?:ing)? live|behind (?:an?|our|the) (?:api|endpoint|chat\w*|website|app)|own (?:api|endpoint|server)|stand up|spin up|capacity (?:plan\w*|request)|(?:offline|batch|online|real[ -]?time) inference|tput|throughput|max(?:imum)? batch|concurren\w+)\b", "host|prem|production|prod|live|behind|own|stand up|spin up|capacity|inference|tput|throughput|batch|concurren"),
        Lazy(r"\b(?:how many|what|which|how much)\b.{0,20}\b(?:gpus?|cards?|hardware|h100s?|h200s?|b200s?|a100s?|l40s|nodes?|replicas?|machines?|boxes|vram|memory)\b.{0,40}\b(?:for|to|4|do|does|should|need\w*)\b", "how many|what|which|how much"),
        Lazy(r"\b(?:is|are|will|would|can|could|does|do)\b.{0,40}\b(?:enough|suffice|sufficient|handle|hold|keep up|cope|sustain|realistic|possible|run|serve)\b", "enough|suffice|sufficient|handle|hold|keep up|cope|sustain|realistic|possible|run|serve"),
    ),
}  # fmt: skip
