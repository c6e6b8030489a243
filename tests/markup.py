"""HTML as a reader sees it, for tests."""

import re
from html.parser import HTMLParser

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"
VOID = {"br", "hr", "img", "input", "meta", "link", "path"}


class Reader(HTMLParser):
    """Tags with their attributes; every tag that is opened must be closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += " " + " ".join(data.split())


def html_of(thing):
    return thing._repr_mimebundle_()["text/html"] if hasattr(thing, "_repr_mimebundle_") else thing._repr_html_()


def plain(html):
    """Without the running numbers of scikit-learn's diagrams."""
    return re.sub(r"sk-(container|estimator)-id-\d+", "sk-id", html)


def of_ours(html):
    """What stands in our own panels."""
    return Reader(html).text
