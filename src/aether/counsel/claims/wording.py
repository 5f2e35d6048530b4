"""Results that are claimed in words alone: superlatives, successes, what everyone knows, what "we" ran, what is certain.

Each needs a tool that said so. Two kinds of hedge take a sentence out: a condition or a duty anywhere in it ("should be measured"),
or, for claims that people make in passing, only a plain denial or doubt ("not", "unknown", "whether").
"""

import re
from collections.abc import Iterator

_WE_RAN = re.compile(
    r"\b(?:i|we) (?:have )?(?:talked|spoke|consulted|e-?mailed|ran|run|quanti[sz]ed|compressed|merged|exported|built|served|fine-?tuned|executed|applied|tried|reviewed|inspected|scanned|analy[sz]ed|audited|searched|compared|launched|started|counted|cleaned|tested|measured|benchmarked|evaluated|verified|confirmed|profiled|trained|timed|observed|checked|reproduced|validated|deployed)\b(?![^.;]{0,40}\b(?:through|with|in) (?:the|our) (?:planner|plan|tools?|estimator|simulator))",
    re.I,
)
_TESTS_SHOW = re.compile(
    r"\b(?:our|my|internal|recent|several|multiple|many|independent|numerous|published|peer-reviewed) (?:\w+ )?(?:tests?|benchmarks?|experiments?|measurements?|evaluations?|studies|study|runs?|papers?|research|results?|ablations?)\b[^.]{0,30}\b(?:show|shows|showed|shown|confirm|prove|proved|demonstrat|indicat|suggest|found|reveal|report|agree)",
    re.I,
)
_TOOK = re.compile(
    r"\b(?:takes?|took|needs?|lasts?|lasted|finish\w* in|done in|ready in|trains? in|runs? in|within|in (?:about|under|roughly|less than)) (?:only |just |about |roughly |around |less than |under |maybe )*"
    r"(?:an?|a few|some|a couple of|one|two|three|four|five|six|seven|eight|nine|ten|several|half an?|a dozen) (?:\w+ )?(?:seconds?|minutes?|hours?|days?|weeks?|months?|years?|afternoons?|evenings?|weekends?|nights?|USD|dollars?|cents?|euros?)\b",
    re.I,
)
_OUR_RUNS = re.compile(
    r"\b(?:our|last night's|yesterday's|this morning's|last week's|my) (?:[\w-]+ ){0,2}(?:runs?|tests?|pilots?|clusters?|deployments?|benchmarks?|customers?|review)\b",
    re.I,
)
_CLAIMS = (
    re.compile(r"\b(?:state[- ]of[- ]the[- ]art|sota)\b", re.I),
    re.compile(
        r"\b(?:outperform|surpass|beat|exceed|outclass|outscore|best(?! (?:checkpoint|model (?:for|at)|of))|rival)(?:s|es|ed|ing)?\b(?=[^.]{0,60}\b(?:gpt|claude|gemini|llama|qwen|mistral|deepseek|gemma|model|models|baseline|human|humans|peers?|benchmark|everything|all (?:other|known)|every (?:other|model|engine|system)))",
        re.I,
    ),
    re.compile(
        r"\b(?:(?:on par with|comparable to|matches|equals?|as good as|better than|superior to)\b[^.]{0,40}\b(?:gpt|claude|gemini|llama|qwen|mistral|deepseek|gemma|human)|indistinguishable from)",
        re.I,
    ),
    _WE_RAN,
    _TESTS_SHOW,
    re.compile(
        r"\b(?:studies|papers|research|benchmarks|experiments|evaluations|literature|experts|the community|practitioners) (?:\w+ )?(?:show|confirm|prove|demonstrat|indicat|suggest|agree|report|found|have shown|has shown|recommend|advise|prefer|say|believe|know)",
        re.I,
    ),
    re.compile(
        r"\b(?:is|are|was|has been|have been|were) (?:widely |well |independently |empirically |experimentally |thoroughly |formally )?(?:proven|proved|verified|validated|confirmed|shown(?! (?:beside|besides|in the|in that|below|above|with|here|there|next|on the|under|as)\b)|demonstrated|certified)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:no|zero|without(?: any)?|negligible|minimal|imperceptible|virtually no) (?:measurable |noticeable |visible |detectable |significant |observable )?(?:quality |accuracy |performance )?(?:loss|degradation|drop|regression)\b(?! scal)",
        re.I,
    ),
    re.compile(
        r"\blossless(?:ly)?\b|\bperfect (?:score|accuracy|recall)\b|\bflawless(?:ly)?\b|\bhuman[- ]level\b|\bsuperhuman\b|\bworld[- ]record\b|\bindustry[- ]leading\b|\bfastest\b[^.]{0,30}\b(?:available|ever|known|world|market)|\bguarantee[sd]?\b",
        re.I,
    ),
    re.compile(
        r"\b(?:significantly|dramatically|substantially|vastly|considerably|consistently|always|clearly|statistically significant(?:ly)?) (?:\w+ )?(?:better|faster|cheaper|outperform\w*|improv\w*|higher|lower|reduc\w*)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:won|tops?|topped|leads?|ranked|ranks|first place|number one) (?:on |in |the )?(?:the )?(?:leaderboard|benchmark|arena|ranking)",
        re.I,
    ),
    re.compile(
        r"\b(?:prozent|pour ?cent|por ?ciento|per ?cento|процент\w*|percento|procent)\b|百分之|パーセント|퍼센트|प्रतिशत|بالمئة",
        re.I,
    ),
)
HEDGED = re.compile(r"\b(?:whether|if|unless|would|should|could|may|might|can(?:not)?|to (?:test|measure|check|verify|confirm|prove|see|show)|not (?:yet )?(?:been )?(?:measured|verified|tested|shown|proven|confirmed|known)|no public|unknown|unproven|until|before|once|until it is|must be|has to be|need(?:s)? to be|claim|ask|without (?:evidence|a measurement)|no evidence)\b", re.I)  # fmt: skip

_TESTS = r"(?:(?:load|soak|stress|smoke|blind|pilot|scaling|dry|a/b|regression|user) )?(?:tests?|testing|runs?|pilots?|trials?|experiments?|evaluations?|benchmarks?|roll-?outs?|deployments?|clusters?|launch(?:es)?|jobs?|labs?|teams?|users?|customers?|annotators|raters|judges)"
_OUTCOMES = (
    r"(?:came|come|went(?! (?:in)?to\b)|passed|finished|completed|ended|succeeded|converged|survived|held|confirmed|proved|proven|showed|shown|found|matched|agreed?|rated|prefer(?:red|s)?|liked|reproduced|"
    r"validated|verified|dropped|failed|crashed|took|gave|returned|delivered|settled|noticed?|saw|moved|switched|adopted|reported|improved|never|outran|demonstrated|revealed)"
)
_TESTS_ENDED = re.compile(rf"\b{_TESTS}\b[^.;:]{{0,40}}?\b{_OUTCOMES}\b", re.I)
_EVERYWHERE = re.compile(
    r"\b(?:better|worse|faster|slower|cheaper|higher|lower|stronger|ahead|wins?|improv\w+)\b[^.;,]{0,24}\b(?:on|in|for|across|over|of) (?:every|all|each|any|both)\b",
    re.I,
)
_RAN = (_WE_RAN, _TESTS_SHOW, _TOOK, _OUR_RUNS, _TESTS_ENDED)
"""Words that say that something was run: a measured number beside them bears them out."""
_IN_PASSING = (
    _EVERYWHERE,
    re.compile(
        r"\bet al\.?[^.;]{0,20}?\b(?:find|found|finds|shows?|showed|prove[sd]?|argue[sd]?|conclude[sd]?|demonstrate[sd]?|confirm(?:s|ed)?)\b(?![^.]*(?<![a-z])\d)",
        re.I,
    ),
    re.compile(
        r"\b(?:keeps?|retains?|preserves?) (?:all|every|its|the|most)\b[^.;]{0,20}\b(?:abilit\w+|capabilit\w+|quality|accuracy|performance|knowledge|skills?)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:does|do|will) not (?:occur|happen|degrade|hurt|suffer)\b|\bnothing (?:beats|outperforms|comes close|matches|rivals)\b",
        re.I,
    ),
    re.compile(
        r"\bmatch(?:es)? (?:BF16|FP16|full precision|the (?:original|baseline|full model)|its teacher)\b|\bidentical (?:quality|accuracy|answers|outputs?)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:it|this|the plan|the (?:\w+ )?(?:option|model|student|teacher|build|variant|layout|setup|server|version|engine|candidate)|(?:option|row|layout|variant) \w+|we|everything|that layout) (?:\w+ )?(?:meets?|met|satisf\w+|keeps?|hits?) (?:the|your|every|all|both)\b[^.;]{0,20}\b(?:bounds?|targets?|slos?|limits?|requirements?)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:quality|accuracy)\b[^.;]{0,24}\b(?:is|are|stays?) (?:identical|the same|equal|unchanged)\b", re.I
    ),
    re.compile(
        r"\bhas (?:long )?been (?:running|serving|live|deployed|used|in (?:use|production|service))\b|\bin (?:use|production|service) (?:at|by|since)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:was|were|been|is|are) (?:\w+ )?(?:reviewed|audited|approved|signed off|endorsed|vetted|certified|recommended) by\b",
        re.I,
    ),
    _TOOK,
    re.compile(
        r"\b(?:papers?|stud(?:y|ies)|reports?|surveys?|articles?|posts?|work|results?|data) (?:by|from|of|at|on) [^.;,]{1,60}? (?:shows?|found|finds?|proves?|confirms?|demonstrates?|suggests?|agrees?|reports?)\b",
        re.I,
    ),
    re.compile(
        r"\bfor (?:every|each) (?:[\w-]+ ){1,4}[^.;]{0,30}?\b(?:you|we|it|they) (?:get|save|gain|lose|win|recover)s?\b",
        re.I,
    ),
    _TESTS_ENDED,
    re.compile(
        r"\b(?:everyone|everybody|nobody|no one|most (?:teams|people|users|companies|labs|practitioners|shops|providers|vendors|engineers|developers|researchers|experts|papers|deployments|models)|all (?:the )?(?:big |major |large )?(?:labs|teams|providers|companies|vendors)|"
        r"the (?:whole )?(?:field|industry|community|consensus|literature)|industry)\b(?! (?:has |have )?(?:published|measured|said|looked|checked|run|tested|asked|knows|reported))",
        re.I,
    ),
    re.compile(
        r"\b(?:best|fastest|strongest|smartest|cheapest|safest|leading|most (?:accurate|capable|efficient|powerful|robust|popular))\b (?:[\w-]+ ){0,3}(?:models?|stacks?|engines?|frameworks?|servers?|kernels?|systems?|method|technique)\b",
        re.I,
    ),
    re.compile(
        r"\bno (?:other|rival|competing) [\w-]+(?: [\w-]+)? (?:comes?|gets?|matches|can|does|reaches)\b|\bsecond to none\b|\bunmatched\b|\bunrivall?ed\b",
        re.I,
    ),
    re.compile(
        r"\b(?:is|are|be) (?:certain|sure|bound|guaranteed) to\b|\bwill (?:definitely|certainly|surely|always|never|easily)\b|\b(?:definitely|certainly|undoubtedly) (?:meets?|fits?|holds?|works?)\b|"
        r"\b(?:free lunch|for free|no trade-?offs?|nothing (?:is|was|gets) lost|no change in (?:answers|quality|accuracy|outputs?))\b",
        re.I,
    ),
    re.compile(
        r"\b(?:already|successfully|consistently|routinely|reliably) (?:\w+ed|runs?|serves?|trains?|in production)\b|\b(?:battle|production)[- ](?:tested|proven|hardened)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:is|are) (?:fully |quite |very )?(?:reliable|trustworthy)\b|\byou can (?:safely )?(?:trust|rely on)\b",
        re.I,
    ),
    re.compile(
        r"\b(?:points?|rows?|samples?|runs?|items?|outliers?|seeds?)\b[^.;]{0,24}? (?:was|were) (?:left out|dropped|removed|excluded|discarded|filtered out)\b",
        re.I,
    ),
    re.compile(
        r"\bpass(?:es|ed)? the [\w-]+ exam\b|\b(?:beats?|outperforms?|surpass(?:es)?) (?:most|all|every|many) \w+", re.I
    ),
    _OUR_RUNS,
)
_PURPOSE = re.compile(
    r"\b(?:so that|so as to|in order (?:to|that)|to make sure|to check|as long as|provided)\b[^.;]*$", re.I
)
"""What is aimed at is not claimed."""
_MODAL = re.compile(r"\b(?:may|might|could|would|should|must|if|whether|unless|until|can)\b", re.IGNORECASE)
_DENIED = re.compile(
    r"\b(?:not|no (?:public|published|evidence|data|one has)|never been|cannot|can't|nothing|unknown|unproven|whether|unless|until|if|may|might|could|would|should|must|nor|neither|without)\b|n't\b|\?\s*$",
    re.IGNORECASE,
)


def is_denied(text: str) -> bool:
    """Whether a sentence denies or doubts, or asks."""
    return _DENIED.search(text) is not None


def results_without_numbers(text: str, heard: str = "", *, seen: bool = False) -> Iterator[str]:
    """The words of a sentence that claim a result. `heard`: all that tools said, squeezed: their own words may be said again.
    `seen`: a number of the sentence was measured, so that something was run."""
    asks = text.rstrip().endswith("?")
    borne_out = _RAN if seen else ()
    if not asks and not HEDGED.search(text):
        claims = (match for pattern in _CLAIMS if pattern not in borne_out for match in pattern.finditer(text))
        yield from (match[0] for match in claims if not _NEGATED.search(text[: match.start()]))
    for pattern in (p for p in _IN_PASSING if p not in borne_out):
        for match in pattern.finditer(text):
            rest = text[: match.start()] + " " + text[match.end() :]
            if not (
                asks
                or _DENIED.search(rest)
                or _MODAL.search(match[0])
                or re.sub(r"[\W_]+", "", match[0].lower()) in heard
                or _PURPOSE.search(text[: match.start()])
            ):
                yield match[0]


_NEGATED = re.compile(r"(?:\bnot|n't|\bnever|\bhardly)\s+(?:\w+\s+)?$", re.IGNORECASE)
"""Before a claim: it is denied."""
_ASKED = re.compile(
    r"^\s*(?:so,? |and |then |but )?(?:could|can|should|would|shall|do|does|is|are|what|which|how|may|might|or)\b[^?]*\?\s*$",
    re.IGNORECASE,
)
_SUPPOSED = re.compile(r"\b(?:if|suppose|supposing|assuming|imagine)\b[^,.;:?]*[,:]", re.IGNORECASE)
_WERE_IT = re.compile(
    r"(?:^\W*|: )(?:with|at|on|for|an?) [^.,;:]{0,60}?(?:\bwould\b|\bcould\b|\bmight\b|\w'd\b)|\bfor [a-z] ?= ?[\d.]+(?:,? and [a-z] ?= ?[\d.]+)*",
    re.IGNORECASE,
)
""" "With 16 GPUs it would ...": what is supposed."""
_STAGED = re.compile(
    r"\b(?:roll(?:ing)? (?:it )?out|rout(?:e|ing)|shift(?:ing)?|send(?:ing)?|expos(?:e|ing)|ramp(?:ing)?(?: up)?|mirror(?:ing)?|canary)\b[^.;:]{0,30}?\d+ ?% of (?:the |your |all )?(?:live |production )?(?:traffic|requests|users)",
    re.IGNORECASE,
)
""" "Roll out to 5 % of the traffic first"."""
_PROPOSED = re.compile(
    r"\bsweep\w* (?:from [^\s]+ )?(?:up )?to [^\s)]+|"
    r"\b(?:relax|loosen|tighten|raise|lower|reduc|extend|cap|limit|set|chang|increas|mov)\w*(?<!have \w{7})(?<!have \w{8}) (?:it|that|this|them|(?:the|your)(?: \w+){1,3}?)(?: from [^\s]+)? (?:to|at),?(?: say,?)? [^\s]+(?: (?:ms|s|seconds?|tokens?|USD|%))?|"
    r"\b(?:an? )?(?:lower|higher|smaller|larger|shorter|longer) (?:\w+ ){0,2}\w+ \([^()]*(?:instead of|rather than)[^()]*\)|"
    r"\b(?:i'd|i would) (?:not |rather )?(?:go|move|start|begin|stay|set|raise|lower)\b[^.;,]{0,16}? (?:to|with|at|below|above|up to) [^\s]+",
    re.IGNORECASE,
)
_CLAIMING = re.compile(
    r"\b(?:scor|achiev|reach|measur|accura|mmlu|gsm8k|humaneval|perplexity|did you know|know that|faster|slower|gain|los[es]|sav(?:e|es|ing)|cheaper|better)\w*",
    re.IGNORECASE,
)


_PROCEDURE = re.compile(
    r"(?:^|[.;:,]\s+|\b(?:and|then|to|please|i'd|i would|let's|you can|you could|you should)\s+)(?:\d+[.)]\s*)?(?:first,? |then,? |next,? )?"
    r"(?:run|repeat|send|(?<!to )take|try|sweep|wait|collect|sample|label|score|measure|warm(?: it)? up|train|evaluate|do|use|draw|record|keep|hold out|replay|generate|start|let|feed|fire|issue)\b[^.;:$]{0,80}?"
    r"\b(?:steps?|times|runs?|seeds?|requests?|prompts?|items?|examples?|minutes?|hours?|days?|samples?|repeats?|trials?|rounds?|questions?|seconds?)\b"
    r"(?:/s|(?: per second)?,? (?:for|over|at|with|of|in|to|and|or|at least|between|\d+)[^.;:$,]{0,24}?\b(?:steps?|minutes?|hours?|seconds?|requests?|req/s|times|runs?|seeds?|tokens?)\b)*",
    re.IGNORECASE,
)
"""What a person is told to do, so many times."""


_OPEN = re.compile(
    r"\s*(?:[-*+]\s*)?(?:what (?:would|could|might|i'd|i would)|to (?:settle|be (?:more )?sure|confirm|test|check)|i (?:don't|do not|can't|cannot) (?:know|say|tell)|nobody knows|next (?:step|experiment)s?:)",
    re.IGNORECASE,
)
"""Sentences of what is not known or not done yet."""
_YOURS = re.compile(r"\byour?\b", re.IGNORECASE)
_IMPERATIVE = re.compile(
    r"\s*(?:[-*+]\s*|\d+[.)]\s*)?(?:(?:then|next|first|please|finally|so)[,:]? )?(?:go back|restart|resume|set|add|allow|give|put|cap|limit|leave|reserve|retry|choose|pick|rerun|re-run|re-?test|re-?measure|repeat|evaluate|collect|send|warm(?!-up)|start with|begin with|schedule|plan|hold out|keep|wait|sample|label|try|sweep|"
    r"i(?:'d| would) (?:also )?(?:measure|test|run|try|send|start|check|sweep|repeat|collect|evaluate)|let's|you (?:could|should|might)(?: also)? (?:measure|test|run|try|send|start|check|sweep|repeat|collect|evaluate|set|add))\b",
    re.IGNORECASE,
)
"""What is to be done."""
_GROUNDED = re.compile(
    r"\b(?:plan(?:ned|s)?|recipe|paper|defaults?|published|recommended|tools?|record|as (?:in|the|shown|found)|because|since|gives?|yields?|reach\w*|achiev\w*|scor\w+|measured|faster|slower|cheaper|better|which|expect\w*|get|sav(?:e|es|ing))\b|%|\bms\b|\$|USD",
    re.IGNORECASE,
)
"""Words with which such a sentence says what is so."""
_GERUND = re.compile(
    r"(?:^|[,:;(]\s*)(?:doubling|halving|tripling)\b|^with \w+ times the\b[^.]*\bwould\b[^.]*", re.IGNORECASE
)


def hypothetical(text: str) -> Iterator[tuple[int, int]]:
    """Where a sentence asks, supposes or proposes: numbers there are no claims, unless results are spoken of."""
    asked = [match for match in (_ASKED.match(text),) if match is not None]
    if (asked and _YOURS.search(text)) or (_IMPERATIVE.match(text) and not _GROUNDED.search(text)):
        yield 0, len(text)
    if _OPEN.match(text) and not _CLAIMING.search(text):
        yield 0, len(text)
    yield from (m.span() for m in _GERUND.finditer(text))
    for match in [
        *asked,
        *_SUPPOSED.finditer(text),
        *_WERE_IT.finditer(text),
        *_STAGED.finditer(text),
        *_PROPOSED.finditer(text),
        *_PROCEDURE.finditer(text),
    ]:
        if not _CLAIMING.search(match[0]):
            yield match.span()
