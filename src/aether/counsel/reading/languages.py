"""Words of quantities in German, French, Spanish, Italian, Portuguese and Chinese, as they stand in mixed texts ("4 requêtes par seconde"), put in English.

Units, bounds, small numbers, what is counted and what is to be done; no other words. Their places in the person's text stay known.
"""

import functools
import re

_WORDS = {
    "requests": "anfrage anfragen requête requêtes peticion peticiones solicitud solicitudes consultas richieste requisições pedidos", "messages": "nachrichten mensajes", "chats": "gespräche",
    "users": "nutzer nutzern benutzer benutzern anwender anwendern utilisateurs usuarios", "concurrent": "gleichzeitige gleichzeitigen simultanés simultanées simultáneos simultáneas",
    "seconds": "sekunde sekunden sek secondes segundos", "milliseconds": "millisekunde millisekunden millisecondes milisegundos", "minutes": "minuten minutos",
    "hours": "stunde stunden heure heures hora horas", "days": "tage tagen jour jours día días", "weeks": "woche wochen semaine semaines semana semanas", "months": "monate monaten mois meses", "years": "jahre jahren años",
    "input": "eingabe eingaben entrée entrées entrada", "output": "ausgabe ausgaben antworten sortie sorties salida réponse réponses respuesta respuestas", "tokens": "jetons",
    "latency": "antwortzeit antwortzeiten latenz latence latencia", "throughput": "durchsatz débit", "at most": "höchstens maximal", "at least": "mindestens wenigstens",
    "billion": "milliarde milliarden", "million": "millionen", "thousand": "tausend", "dollars": "dollar", "first token": "ersttokenzeit ersttokenlatenz",
    "one": "ein eine einer einem einen une una uma", "two": "zwei deux dos", "three": "drei trois tres", "four": "vier quatre cuatro", "six": "sechs seis", "eight": "acht huit ocho", "sixteen": "sechzehn seize",
    "how many": "cuántos cuántas", "cards": "karten grafikkarten cartes", "continue training": "weitertrainieren weitertraining", "train": "trainieren entraîner entrenar",
    "fine-tune": "feintunen feintuning nachtrainieren affiner afinar", "pretrain": "vortrainieren préentraîner pré-entraîner preentrenar",
    "serve": "betreiben ausrollen bedienen servir servire déployer héberger desplegar", "quantise": "quantisieren quantifier cuantizar", "merge": "verschmelzen zusammenführen fusionner fusionar",
    "evaluate": "auswerten bewerten évaluer evaluar", "compare": "vergleich vergleiche vergleichen comparer comparar", "compress": "komprimieren verkleinern compresser comprimir", "smaller": "kleiner",
    "why": "warum wieso pourquoi", "explain": "erklär erkläre erklären explique expliquer expliquez explica",
}  # fmt: skip
_PHRASES = {
    r"d'entrées?|en entrées?|de entrada": "input", r"(?:de|en) sorties?|de salida": "output",
    r"(?<=\d )rein|(?<=token )rein|(?<=tokens )rein": "in", r"(?<=\d )raus|(?<=token )raus|(?<=tokens )raus": "out", r"temps de réponse|tiempo de respuesta": "latency",
    r"bis zu|nicht mehr als|au plus|au maximum|como máximo|a lo sumo|weniger als|moins de|menos de": "at most", r"au moins|al menos|por lo menos": "at least",
    r"(?:unter|sous|por debajo de|bajo)(?=\s+(?:\d|ein|une?\b))": "under", r"über(?=\s+\d)": "over", r"innerhalb von|en moins de": "within",
    r"mrd\.?(?=\s)|milliards?(?: de)?|mil millones(?: de)?": "billion", r"mio\.(?=\s)|millones(?: de)?": "million", r"mille?(?= tokens)": "thousand",
    r"(?:zeit )?bis zum ersten token|erstes token|premier (?:token|jeton)|primer token": "first token", r"u[nm](?=\s+[a-z]{1,4}-?\d)": "one",
    r"auf der (?:fest)?platte|sur le disque|en disco": "on disk", r"wie viele|combien de": "how many", r"weiter trainieren": "continue training", r"laufen lassen": "serve",
    r"mach(?:e|en)?(?= .{3,40} kleiner)": "make", r"was ist|qu'est-ce que?|qué es": "what is", r"wie funktionier(?:t|en)|comment fonctionne(?:nt)?|cómo funcionan?": "how does",
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
_IN_PHRASES = (
    "entrada salida rein raus temps tiempo bis nicht au máximo lo weniger moins menos unter sous bajo debajo über innerhalb mrd milliard milliards millones mio mil mille ersten erstes "
    "premier primer un um platte festplatte disque disco viele combien weiter laufen kleiner ist est-ce qué wie comment cómo pro par por al"
)
"""Words one of which stands in every phrase, and those before a period."""
_TELLING = frozenset(" ".join((*_WORDS.values(), _IN_PHRASES)).split())
_WORD = re.compile(r"[\w-]+")
_EASTERN_LETTER = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_ENGLISH = (*_PHRASES.values(), *_WORDS)
_EACH = tuple(_PER.values())
_EASTERN = tuple(f" {word}" for word in _EAST.values())


@functools.cache
def _foreign() -> re.Pattern[str]:
    """Made only for a text that has such a word: most have none."""
    known = (*_PHRASES, *("|".join(spelled.split()) for spelled in _WORDS.values()))
    return re.compile(
        rf"(?:{'|'.join(f'(?P<e{i}>{words})' for i, words in enumerate(_EAST))})|"
        rf"(?<![\w-])(?:(?:pro|par|por|al)\s+(?:{'|'.join(f'(?P<p{i}>{words})' for i, words in enumerate(_PER))})|"
        rf"{'|'.join(f'(?P<w{i}>{words})' for i, words in enumerate(known))})(?![\w-])"
    )


def in_english(plain: str, origin: list[int]) -> tuple[str, list[int]]:
    """The text with those words put in English, and for each character its place in the person's text."""
    if _TELLING.isdisjoint(_WORD.findall(plain)) and not _EASTERN_LETTER.search(plain):
        return plain, origin
    parts, places, at = [], [], 0
    for match in _foreign().finditer(plain):
        kind, number = (match.lastgroup or "w0")[0], int((match.lastgroup or "w0")[1:])
        said = {"p": _EACH, "w": _ENGLISH, "e": _EASTERN}[kind][number]
        width = match.end() - match.start()
        parts += [plain[at : match.start()], said]
        places += origin[at : match.start()]
        places += [origin[match.start() + min(width - 1, i * width // len(said))] for i in range(len(said))]
        at = match.end()
    return "".join([*parts, plain[at:]]), places + origin[at:]
