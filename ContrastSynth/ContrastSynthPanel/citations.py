"""The paper that a method follows, as a label shows it."""

import html

from slicer.i18n import tr as _

from ContrastSynthLib.resources import citation

MOST_AUTHORS = 2


def citation_html(key: str) -> str:
    """Return authors, year, title and venue as rich text, linked where a DOI or URL is known."""
    paper = citation(key)
    authors = list(paper["authors"])
    if len(authors) > MOST_AUTHORS:
        authors = [_("{first} et al.").format(first=authors[0])]
    text = html.escape(f"{', '.join(authors)} ({paper['year']}): {paper['title']}. ", quote=False)
    venue = html.escape(str(paper["venue"]), quote=False)
    link = f"https://doi.org/{paper['doi']}" if paper.get("doi") else paper.get("url")
    if link:
        shown = html.escape(link.removeprefix("https://"), quote=False)
        venue += f', <a href="{html.escape(link)}">{shown}</a>'
    return _("After: {paper}").format(paper=f"{text}<i>{venue}</i>.")
