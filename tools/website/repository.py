"""Put files of the repository onto the documentation site: hooks of MkDocs, which `mkdocs.yml` names.

Pages in docs/ link to the repository's files by relative paths, as in `../configs/two_grpo.py`, because code hosts show
them so. The site knows docs/ alone. So the README becomes its first page, every other page of the repository a page in
repository/, and every file that a page links to a page with its text. Links between all of these are adapted.

The site is to work without a network, so a page that would load anything from elsewhere is refused.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<=\]\()[^)#\s:]+(?=[)#])")  # the path in [text](path) or [text](path#anchor), not an address
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?[\"'=](?:https?:)?//[^>]*>")
PAGES = ("README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md")
FIRST = "index.md"  # where the site has the README
OTHERS = "repository/"  # where it has the other files, whether they are pages or shown in pages


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the repository's pages, and the files that pages link to."""
    root, docs = Path(config.docs_dir).parent, Path(config.docs_dir).name
    waiting = [*PAGES, *(f"{docs}/{file.src_uri}" for file in files.documentation_pages())]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen or not (root / path).is_file():
            continue
        seen.add(path)
        text = (root / path).read_text(encoding="utf-8")
        if path.endswith(".md"):
            targets = [_target(link, path) for link in LINK.finditer(text)]
            waiting += [target for target in targets if not target.startswith(f"{docs}/")]
        if not path.startswith(f"{docs}/"):
            files.append(File.generated(config, _place(path, docs), content=_page(path, text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the links of a page lead to the site's pages."""
    docs, here = Path(config.docs_dir).name, page.file.src_uri
    path = PAGES[0] if here == FIRST else here.removeprefix(OTHERS) if here.startswith(OTHERS) else f"{docs}/{here}"

    def adapted(link: re.Match[str]) -> str:
        place = _place(_target(link, path), docs)
        if not files.get_file_from_path(place):  # MkDocs reports the link as the page has it
            return link[0]
        return posixpath.relpath(place, posixpath.dirname(here) or ".")

    return LINK.sub(adapted, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Return the page as it is. Raise PluginError if it would load something from elsewhere."""
    if elsewhere := LOADED.search(output):
        raise PluginError(f"{page.file.src_uri}: {elsewhere[0]} is loaded from elsewhere; put it into the repository.")
    return output


def _target(link: re.Match[str], path: str) -> str:
    """Return the file that a link of the page at `path` leads to. Both paths are relative to the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link[0]))


def _place(path: str, docs: str) -> str:
    """Return where the site has a file of the repository."""
    if path.startswith(f"{docs}/"):
        return path.removeprefix(f"{docs}/")
    if path == PAGES[0]:
        return FIRST
    return f"{OTHERS}{path}" if path.endswith(".md") else f"{OTHERS}{path}.md"


def _page(path: str, text: str) -> str:
    """Return the Markdown that shows a file."""
    if path.endswith(".md"):
        return text
    return f"---\nhide: [toc]\n---\n\n# {path}\n\n````{Path(path).suffix.removeprefix('.')}\n{text}\n````\n"
