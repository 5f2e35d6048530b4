"""Words of quantities in German, French, Spanish, Italian, Portuguese and Chinese, as they stand in mixed texts ("4 requêtes par seconde"), put in English.

Units, bounds, small numbers, what is counted and what is to be done; no other words. Their places in the person's text stay known.
"""

import re

_WORDS = {
    r"anfragen?|requêtes?|peticion(?:es)?|solicitud(?:es)?|consultas|richieste|requisições|pedidos": "requests", r"nachrichten|mensajes": "messages", r"gespräche": "chats",
    r"nutzern?|benutzern?|anwendern?|utilisateurs|usuarios": "users", r"gleichzeitigen?|simultan(?:é|ée)s|simultáne[oa]s": "concurrent",
    r"sekunden?|sek|secondes|segundos": "seconds", r"millisekunden?|millisecondes|milisegundos": "milliseconds", r"minuten|minutos": "minutes",
    r"stunden?|heures?|horas?": "hours", r"tagen?|tage|jours?|días?": "days", r"wochen?|semaines?|semanas?": "weeks", r"monaten?|monate|mois|meses": "months", r"jahren?|jahre|años": "years",
    r"eingaben?|(?:d'|en )?entrées?|(?:de )?entrada": "input", r"ausgaben?|antworten|(?:de |en )?sorties?|(?:de )?salida|réponses?|respuestas?": "output",
    r"(?<=\d )rein|(?<=token )rein|(?<=tokens )rein": "in", r"(?<=\d )raus|(?<=token )raus|(?<=tokens )raus": "out", r"jetons": "tokens",
    r"antwortzeit(?:en)?|latenz|temps de réponse|tiempo de respuesta|latence|latencia": "latency", r"durchsatz|débit": "throughput",
    r"höchstens|maximal|bis zu|nicht mehr als|au plus|au maximum|como máximo|a lo sumo|weniger als|moins de|menos de": "at most",
    r"mindestens|wenigstens|au moins|al menos|por lo menos": "at least",
    r"(?:unter|sous|por debajo de|bajo)(?=\s+(?:\d|ein|une?\b))": "under", r"über(?=\s+\d)": "over", r"innerhalb von|en moins de": "within",
    r"(?:milliarden?|mrd\.?)(?=\s)|milliards?(?: de)?|mil millones(?: de)?": "billion", r"millionen|mio\.(?=\s)|millones(?: de)?": "million", r"tausend|mille?(?= tokens)": "thousand", r"dollar": "dollars",
    r"(?:zeit )?bis zum ersten token|ersttoken(?:zeit|latenz)|erstes token|premier (?:token|jeton)|primer token": "first token",
    r"ein(?:e|er|em|en)?|une|una|uma|un(?=\s+[a-z]{1,4}-?\d)|um(?=\s+[a-z]{1,4}-?\d)": "one", r"zwei|deux|dos": "two", r"drei|trois|tres": "three", r"vier|quatre|cuatro": "four", r"sechs|seis": "six", r"acht|huit|ocho": "eight", r"sechzehn|seize": "sixteen",
    r"auf der (?:fest)?platte|sur le disque|en disco": "on disk", r"wie viele|combien de|cuánt[ao]s": "how many", r"karten|grafikkarten|cartes": "cards",
    r"weiter ?trainieren|weitertraining": "continue training", r"trainieren|entraîner|entrenar": "train", r"feintun(?:en|ing)|nachtrainieren|affiner|afinar": "fine-tune", r"vortrainieren|pré-?entraîner|preentrenar": "pretrain",
    r"betreiben|ausrollen|laufen lassen|bedienen|servir|servire|déployer|héberger|desplegar": "serve", r"quantisieren|quantifier|cuantizar": "quantise", r"verschmelzen|zusammenführen|fusionner|fusionar": "merge",
    r"auswerten|bewerten|évaluer|evaluar": "evaluate", r"vergleich(?:e|en)?|comparer|comparar": "compare", r"komprimieren|verkleinern|compresser|comprimir": "compress", r"mach(?:e|en)?(?= .{3,40} kleiner)": "make", r"kleiner": "smaller",
    r"warum|wieso|pourquoi": "why", r"erklär(?:e|en)?|explique[rz]?|explica": "explain", r"was ist|qu'est-ce que?|qué es": "what is", r"wie funktionier(?:t|en)|comment fonctionne(?:nt)?|cómo funcionan?": "how does",
}  # fmt: skip
_PER = {"sekunde|seconde|segundo|secondo": "per second", "s": "per s", "minute|minuto": "per minute", "stunde|heure|hora": "per hour", "tag|jour|día": "per day", "woche|semaine|semana": "per week", "monat|mois|mes": "per month", "token": "per token", "nutzer|utilisateur|usuario": "per user", "karte": "per gpu", "million|millón de": "per million"}  # fmt: skip
_EAST = {
    "每秒": "every second", "每分钟": "every minute", "每小时": "every hour", "每天": "every day", "个请求|请求|次请求|リクエスト": "requests", "毫秒|ミリ秒": "milliseconds", "小时|时间": "hours", "分钟": "minutes",
    "秒": "seconds", "天": "days", "周": "weeks", "首个?(?=\\s*token)|最初の": "first", "低于|小于|不超过|少于|以下": "under", "至少|不低于": "at least", "最多": "at most", "以内|之内|内": "at most",
    "万": "myriad", "亿": "hundredmillion", "部署|推理": "serve", "预训练": "pretrain", "微调": "fine-tune", "量化": "quantise", "合并": "merge", "评估": "evaluate", "比较|对比": "compare", "还是": "or", "和": "and",
    "解释": "explain", "什么是": "what is", "为什么": "why", "需要多少张|需要多少|多少张|几张": "how many", "输入": "input", "输出": "output", "延迟": "latency", "吞吐": "throughput", "美元": "dollars", "并发用户": "concurrent users", "用户": "users",
    "[张块个台条的用在上]": "",
}  # fmt: skip
"""Chinese and a few Japanese words, longest first where one holds another; counting words and particles fall away."""
_FOREIGN = re.compile(
    rf"(?:{'|'.join(f'(?P<e{i}>{words})' for i, words in enumerate(_EAST))})|"
    rf"(?<![\w-])(?:(?:pro|par|por|al)\s+(?:{'|'.join(f'(?P<p{i}>{words})' for i, words in enumerate(_PER))})|"
    rf"{'|'.join(f'(?P<w{i}>{words})' for i, words in enumerate(_WORDS))})(?![\w-])"
)
_ENGLISH = tuple(_WORDS.values())
_EACH = tuple(_PER.values())
_EASTERN = tuple(f" {word}" for word in _EAST.values())


def in_english(plain: str, origin: list[int]) -> tuple[str, list[int]]:
    """The text with those words put in English, and for each character its place in the person's text."""
    parts, places, at = [], [], 0
    for match in _FOREIGN.finditer(plain):
        kind, number = (match.lastgroup or "w0")[0], int((match.lastgroup or "w0")[1:])
        said = {"p": _EACH, "w": _ENGLISH, "e": _EASTERN}[kind][number]
        width = match.end() - match.start()
        parts += [plain[at : match.start()], said]
        places += origin[at : match.start()]
        places += [origin[match.start() + min(width - 1, i * width // len(said))] for i in range(len(said))]
        at = match.end()
    return "".join([*parts, plain[at:]]), places + origin[at:]
