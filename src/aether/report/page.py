"""A page of counsel in every form: Markdown, HTML, and the Markdown that a terminal draws.

The same renderers and the same guard as a run's report; the numbers come from the page's own evidence.
"""

from aether.report.html import to_html
from aether.report.markdown import cited_in, to_markdown
from aether.report.sources import Sources
from aether.spec.answer import Page
from aether.spec.evidence import Evidence


def page_markdown(page: Page) -> str:
    """The page as a Markdown document. Raises UnsourcedNumber when a number on it has no evidence."""
    return to_markdown(page.report, Sources.of_page(page))


def page_evidence(page: Page) -> tuple[Evidence, ...]:
    """The page's records: footnote n of its Markdown is the n-th, then those that it does not cite."""
    sources = Sources.of_page(page)
    place = {evidence_id: number for number, evidence_id in enumerate(cited_in(page.report, sources))}
    return tuple(sorted(page.evidence, key=lambda record: place.get(record.id, len(place))))


def page_html(page: Page) -> str:
    """The page as one HTML file. Raises UnsourcedNumber when a number on it has no evidence."""
    return to_html(page.report, Sources.of_page(page))
