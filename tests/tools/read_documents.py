"""Reads a folder of documents, each as PDF and as HTML, with other people's readers, and prints what
each PDF is, and what its HTML says that it does not."""

import json
import pathlib
import sys
from html.parser import HTMLParser

from pypdf import PdfReader


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.texts, self.hidden = [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("style", "title")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "title")

    def handle_data(self, data):
        if data.strip() and not self.hidden:
            self.texts.append(data)


def squeezed(text):
    """Without white space: lines break elsewhere on paper."""
    return "".join(text.split())


found = {}
for pdf in sorted(pathlib.Path(sys.argv[1]).glob("*.pdf")):
    reader = PdfReader(pdf, strict=True)
    pages = [squeezed(page.extract_text()) for page in reader.pages]
    page = Texts()
    page.feed(pdf.with_suffix(".html").read_text(encoding="utf-8"))
    found[pdf.stem] = {
        "title": reader.metadata.title,
        "author": reader.metadata.author,
        "paper": [round(float(side)) for side in reader.pages[0].mediabox[2:]],
        "pages": len(pages),
        "numbered": all(f"Page{n}of{len(pages)}" in text for n, text in enumerate(pages, 1)),
        # What is below the table may have a page of its own.
        "headed": all("Description" in text for text in pages[:-1] or pages),
        "texts": len(page.texts),
        "missing": [text for text in page.texts if squeezed(text) not in "".join(pages)],
    }
print(json.dumps(found))
