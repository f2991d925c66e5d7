"""Configuration of the site: ``python -m sphinx -W -b html docs docs/_build``."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import sk_dml

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "sk_dml"
copyright = "The sk_dml developers, BSD-3-Clause"
version = release = sk_dml.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "pages",
    "embedder_docs",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.md5"]

# References into the package must resolve, others need the network.
nitpicky = True
nitpick_ignore_regex = [(r".*", r"(?!sk_dml\.).*")]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "ignore_pattern": r"^(?!.*plot_)",
    "doc_module": ("sk_dml",),
    "backreferences_dir": "gallery/backreferences",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
}


def reachable(url):
    """Return whether a site answers: builds without a network link to none."""
    request = Request(f"{url}objects.inv", headers={"User-Agent": "sphinx"})
    try:
        with urlopen(request, timeout=3):
            return True
    except OSError:
        return False


sites = {
    "sklearn": "https://scikit-learn.org/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "skorch": "https://skorch.readthedocs.io/en/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
}
with ThreadPoolExecutor() as threads:
    answers = threads.map(reachable, sites.values())
intersphinx_mapping = {
    name: (url, None)
    for (name, url), answer in zip(sites.items(), answers, strict=True)
    if answer
}

html_theme = "pydata_sphinx_theme"
html_title = "sk_dml"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_baseurl = "https://sk-dml.readthedocs.io/en/stable/"
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "sk_dml"},
    "navbar_align": "left",
    "github_url": "https://github.com/sk-dml/sk-dml",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "install": [], "quick_start": [], "faq": []}
