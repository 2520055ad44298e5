"""How the site is built: sphinx-build -W --keep-going -b html docs docs/_build/html."""

import re
import sys
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import generated  # noqa: E402 - it lies beside this file

from advisor import __version__  # noqa: E402

project = "transfer-advisor"
author = "The transfer-advisor authors"
copyright = author  # noqa: A001 - the name that Sphinx reads
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "generated.py", "reference/generated"]
smartquotes = False  # they would turn --out into –out
toc_object_entries = False  # each name has a heading of its own

# Pages are Markdown; a heading can be linked to as on GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist", "colon_fence"]

# Docstrings: Google style, code in single backticks, types from the annotations.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# What scikit-learn adds to a classifier has text that refers to its own pages.
autodoc_default_options = {"members": True, "exclude-members": "set_score_request"}
strip_signature_backslash = True  # keeps the underscore at the end of classes_
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"transfer-advisor {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def hide_signature(app, what, name, obj, options, signature, annotation):
    """Hides how a result is constructed, since the functions return it and nobody writes it."""
    return ("", None) if what == "class" else None


_docstrings = {}


def keep_docstring(app, what, name, obj, options, lines):
    """Keeps the docstring of a property, in which Napoleon takes what precedes a colon for a type."""
    if what == "property":
        _docstrings[name] = list(lines)


def restore_docstring(app, what, name, obj, options, lines):
    """Puts it back after Napoleon."""
    if what == "property":
        lines[:] = _docstrings.pop(name)


# What autodoc and Napoleon write, and what a reader expects.
WORDS = {" -- ": " – ", "Variables": "Attributes"}
LONG_NAMES = re.compile(r"\b(?:collections\.abc|pathlib|typing)\.")


def set_words(app, doctree):
    """Sets dashes, calls attributes what they are, and shortens the names of common types."""
    for text in list(doctree.findall(nodes.Text)):
        words = WORDS.get(str(text), LONG_NAMES.sub("", str(text)))
        if words != str(text):
            text.parent.replace(text, nodes.Text(words))


def setup(app):
    """Writes the pages that come from the code before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: generated.write(HERE / "reference" / "generated"))
    app.connect("doctree-read", set_words)
    app.connect("autodoc-process-signature", hide_signature)
    app.connect("autodoc-process-docstring", keep_docstring, priority=400)
    app.connect("autodoc-process-docstring", restore_docstring, priority=600)
