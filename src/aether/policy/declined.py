"""What Aether declines: a stated goal of large-scale deception, automated social engineering, or biological weapons.

Rules over the brief's name and intended use: an act (write, send, automate, ...) near an object (phishing mails, fake
reviews, a pathogen's transmissibility, ...), unless the same clause is about protecting from it. They catch a goal that
is said; they are no classifier of hidden intent, they read English only, and a person who rewords can pass. What a
refusal costs a wrong reader is small: it carries its reason and an alternative, and the brief can be restated.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from aether.spec.brief import Brief
from aether.spec.errors import Declined


class Reason(StrEnum):
    """Why a request is declined."""

    LARGE_SCALE_DECEPTION = "large_scale_deception"
    AUTOMATED_SOCIAL_ENGINEERING = "automated_social_engineering"
    BIOLOGICAL_WEAPONS = "biological_weapons"


@dataclass(frozen=True)
class Rule:
    """A reason, the patterns that state it, and what Aether helps with instead."""

    reason: Reason
    patterns: tuple[re.Pattern[str], ...]
    sentence: str
    alternative: str
    always: tuple[re.Pattern[str], ...] = ()
    """Patterns that no protective word in the clause excuses."""


_ACT = (
    r"(?:writ(?:e|es|ing)|generat(?:e|es|ing|ion of)|creat(?:e|es|ing)|produc(?:e|es|ing)|craft(?:s|ing)?|compos(?:e|es|ing)"
    r"|send(?:s|ing)?|automat(?:e|es|ing|ed)|mass[- ]?(?:produc\w+|post\w*|mail\w*|generat\w+)|spread(?:s|ing)?|post(?:s|ing)?"
    r"|flood(?:s|ing)?|run(?:s|ning)?|launch(?:es|ing)?|conduct(?:s|ing)?|scal(?:e|es|ing)|personali[sz](?:e|es|ing)"
    r"|fabricat(?:e|es|ing)|publish(?:es|ing)?|disseminat(?:e|es|ing)|seed(?:s|ing)?|build(?:s|ing)?|mak(?:e|es|ing))"
)
_NEAR = r"(?:\W+[\w'-]+){0,6}?\W+"

_PHISH = (
    r"(?:(?:spear[- ]?)?phishing(?! (?:detect|classif|filter|awareness|report|protect|prevent|defen[cs]))|smishing|vishing"
    r"|pretext(?:ing)? (?:calls?|messages?|emails?)|scam (?:e-?mails?|messages?|calls?|texts?)|romance scams?|pig[- ]butchering"
    r"|credential[- ]harvesting(?: pages?| messages?| emails?)?|social engineering(?: attacks?| campaigns?| messages?)?)"
)
_DECEPTION = (
    r"(?:disinformation|misinformation|propaganda|fake (?:news|reviews?|testimonials?|grassroots|comments?|accounts?|personas?)"
    r"|sock ?puppets?|astroturf\w*|troll (?:farms?|armies|army)|bot (?:farms?|armies|army)|deep ?fakes?"
    r"|influence operations?)"
)
_AGENT = (
    r"(?:bio(?:logical)?[- ]?weapons?|bio[- ]?terror\w*|weaponi[sz]ed? (?:pathogens?|virus(?:es)?|bacteri\w+|toxins?|agents?)"
    r"|pandemic (?:pathogens?|agents?)|biological (?:warfare )?agents?)"
)
_MAKE = (
    r"(?:design\w*|develop(?:s|ing)?|build(?:s|ing)?|mak(?:e|es|ing)|produc(?:e|es|ing)|creat(?:e|es|ing)|deploy\w*|acquir\w+"
    r"|synthesi[sz]\w+|engineer(?:s|ing)?|assembl\w+|weaponi[sz]\w+)"
)
_UNPROTECTED = (
    r"(?:\W+(?!detect|prevent|counter|defend|defen[cs]|protect|against|screen|flag|block|stop|recogni|classif|model|survey)"
    r"[\w'-]+){0,5}?\W+"
)
_BOOST = r"(?:enhanc\w+|increas\w+|boost\w*|maximi[sz]\w+|improv\w+|optimi[sz]\w+|engineer\w*|design\w*)"
_PATHOGEN = r"(?:pathogens?|virus(?:es)?|anthrax|smallpox|variola|ebola|botulinum|ricin|influenza|h5n1|plague|toxins?)"
_TRAIT = r"(?:transmissib\w+|lethal\w*|virulen\w+|aerosoli[sz]\w+|airborne spread|vaccine[- ]resist\w+|immune evasion)"

_PROTECTS = re.compile(
    r"\b(?:detect(?!ion[- ](?:evad|avoid|resist))\w*|classif\w+|filter\w*|block\w*|flag\w*|prevent\w*|defend\w*|defen[cs]\w+"
    r"|counter\w*|moderat\w+|mitigat\w+|recogni[sz]\w+|identif\w+|spot\w*|warn\w*|fact[- ]?check\w*|debunk\w*"
    r"|protect\w*|awareness|against|surveillance|resist(?:ing)? attacks?|analy[sz]\w+|stud(?:y|ies|ying)|summari[sz]\w+"
    r"|teach\w*|history|treat(?:y|ies)|fight\w*|stop\w*|combat\w*|report(?:s|ing)? on|fixtures?|unit tests?|test data)\b",
    re.IGNORECASE,
)
_EVADES = re.compile(
    r"\b(?:evad\w+|bypass\w*|avoid\w*|undetect\w+|get(?:s|ting)? past|without being (?:detected|flagged|caught)"
    r"|fool\w*|trick\w*|deceiv\w+)\b",
    re.IGNORECASE,
)


def _compiled(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE) for pattern in patterns)


RULES: tuple[Rule, ...] = (
    Rule(
        Reason.BIOLOGICAL_WEAPONS,
        _compiled(
            _AGENT,
            rf"{_BOOST}{_NEAR}{_TRAIT}{_NEAR}(?:{_PATHOGEN})",
            rf"{_BOOST}{_NEAR}{_PATHOGEN}{_NEAR}{_TRAIT}",
            rf"(?:synthesi[sz]\w+|cultur\w+|weaponi[sz]\w+|aerosoli[sz]\w+){_NEAR}(?:anthrax|smallpox|variola|ebola|botulinum|ricin)",
        ),
        "it would help with biological weapons",
        "models for public health: surveillance of outbreaks, screening of synthesis orders, reading of published trials",
        always=_compiled(rf"{_MAKE}{_UNPROTECTED}{_AGENT}"),
    ),
    Rule(
        Reason.AUTOMATED_SOCIAL_ENGINEERING,
        _compiled(
            rf"{_ACT}{_NEAR}{_PHISH}",
            rf"(?:automated|large[- ]scale|mass|bulk|ai[- ]powered){_NEAR}{_PHISH}",
            r"(?:spear[- ]?)?phishing[- _]?(?:generator|writer|bot|kit|campaigns?|assistant)",
            r"scam[- _]?(?:generator|bot|caller|writer)",
            r"(?:trick|manipulat\w+|con|deceiv\w+|persuad\w+)(?:e|ing|s)?"
            rf"{_NEAR}(?:into|to){_NEAR}(?:(?:reveal|shar|giv|send|hand|disclos|enter)\w*)"
            rf"{_NEAR}(?:passwords?|credentials?|money|bank|card|one[- ]time codes?)",
            r"impersonat\w+(?:\W+[\w'-]+){0,6}?\W+(?:to|and)\W+(?:steal|obtain|collect|extract|get)\w*",
        ),
        "it would automate social engineering",
        "models that detect phishing and scams, or material for training people to recognise them",
    ),
    Rule(
        Reason.LARGE_SCALE_DECEPTION,
        _compiled(
            rf"{_ACT}{_NEAR}{_DECEPTION}",
            rf"(?:automated|large[- ]scale|mass|bulk|coordinated){_NEAR}{_DECEPTION}",
            r"(?:disinformation|fake[- _]?(?:news|reviews?)|propaganda|sock ?puppet)[- _]?(?:generator|writer|bot|factory|machine|engine)",
            r"(?:pos(?:e|es|ing)|pretend\w*|pass(?:es|ing)?) (?:as|to be|for) (?:real |human |ordinary |many )*"
            r"(?:people|voters|humans?|customers|citizens|users)(?:\W+[\w'-]+){0,10}?\W+(?:elections?|votes?|opinions?|sentiment|reviews?)",
            r"(?:sway|manipulat\w+|swing|rig)\w*(?:\W+[\w'-]+){0,4}?\W+(?:elections?|public opinion|referend\w+|voters)",
        ),
        "it would deceive people at scale",
        "models that find coordinated inauthentic behaviour, check claims, or label generated text openly",
    ),
)


def decline(brief: Brief) -> None:
    """Raise Declined when the name or the intended use states a goal that Aether does not help with."""
    for text in (brief.name.replace("-", " ").replace("_", " ").replace(".", " "), brief.intended_use or ""):
        for clause in _clauses(text):
            for rule in RULES:
                found = _states(rule, clause)
                if found is not None:
                    raise Declined(
                        f"Aether declines this: {rule.sentence} ({found!r}). It does help with {rule.alternative}.",
                        reason=rule.reason.value,
                        matched=found,
                        alternative=rule.alternative,
                    )


def _clauses(text: str) -> list[str]:
    parts = re.split(r"[.;!?\n]+|,?\s+(?:and then|then also|but)\s+", text[:20_000])
    return [part.strip() for part in parts if part.strip()]


def _states(rule: Rule, clause: str) -> str | None:
    """The words that state the goal, or None: no pattern, or the clause is about protecting from it."""
    for pattern in rule.always:
        match = pattern.search(clause)
        if match is not None:
            return match.group(0)
    for pattern in rule.patterns:
        match = pattern.search(clause)
        if match is None:
            continue
        if _PROTECTS.search(clause) and not _EVADES.search(clause):
            continue
        return match.group(0)
    return None
