"""Pages that are generated: those of the methods, and those of the benchmarks."""

import inspect
import re
from pathlib import Path

import sk_dml
from sk_dml import model_selection, neighbors, scorers
from sk_dml.embedders._pair import PairEmbedder
from sk_dml.utils import all_embedders

DOCS = Path(__file__).parent.parent
# Names of sk_dml itself, by the module whose pages they have.
EXPORTS = {
    name: module.__name__
    for module in (model_selection, neighbors, scorers)
    for name in module.__all__
    if name in sk_dml.__all__
}
REPOSITORY = "https://github.com/sk-dml/sk-dml/blob/main/"

OVERVIEW = """\
=======
Methods
=======

Every method is an estimator of :mod:`sk_dml`. Its loss, a torch module for any training
loop, is in :mod:`sk_dml.losses`. If you do not want to read about all of them, see
:doc:`which method to choose </user_guide/choosing_a_method>`. Comparisons on data are
in :doc:`/results` and in :doc:`/reality_check`.

Methods that compare samples
============================

These methods compare the samples of a batch with each other. They need two or more
samples of each class, and can use a cross-batch memory for many classes and small
batches: ``CircleEmbedder(memory_size=4096)``, or
:class:`sk_dml.losses.CrossBatchMemory` around a loss. On images they generalize best to
classes never seen in training.

{samples}

Methods with proxies
====================

These methods compare a batch with proxies, one or more learned vectors of every class.
They accept classes of a single sample and batches of any kind, and are best at
separating the classes that they were trained on.

{proxies}

.. toctree::
   :hidden:
   :glob:

   *
"""

TABLE = """\
.. list-table::
   :header-rows: 1
   :widths: auto
   :class: methods

   * - embedder
     - year
     - choose it
"""

METHOD = """\
{line}
{name}
{line}

.. currentmodule:: sk_dml

.. autoclass:: {name}
   :members:
   :inherited-members: BaseEstimator
   :exclude-members: loss_class, get_metadata_routing, set_fit_request,
      set_partial_fit_request

.. minigallery:: sk_dml.{name}
   :add-heading: In the gallery
"""


def methods():
    """Return the pages of the methods, as a dict of names and texts."""
    pages, rows = {}, {True: [], False: []}
    for name, embedder in all_embedders():
        description, _, references = inspect.getdoc(embedder).partition(
            "\nReferences\n"
        )
        description = description.partition("\nParameters\n")[0]
        choose = re.search(r"Choose\s+it\s+(.*)", description, re.DOTALL)[1]
        year = re.search(r"\b(?:19|20)\d\d\b", references)[0]
        rows[issubclass(embedder, PairEmbedder)].append(
            f"   * - :class:`~sk_dml.{name}`\n     - {year}\n"
            f"     - {' '.join(choose.split())}"
        )
        pages[name] = METHOD.format(name=name, line="=" * len(name))
    samples, proxies = ("\n".join([TABLE, *rows[kind]]) for kind in rows)
    return pages | {"index": OVERVIEW.format(samples=samples, proxies=proxies)}


def results():
    """Return the pages of the benchmarks, as a dict of names and texts."""
    titles = re.findall(
        r"\[(.+)\]\(results/(.+)\.md\)",
        (DOCS / "results.md").read_text(encoding="utf-8"),
    )
    titles = {stem: title for title, stem in titles}
    pages = {}
    for path in sorted((DOCS.parent / "benchmarks" / "results").glob("*.md")):
        script, _, text = (
            path.read_text(encoding="utf-8").removeprefix("# ").partition("\n")
        )
        title = titles.get(path.stem, path.stem.capitalize())
        source = f"[benchmarks/{script}]({REPOSITORY}benchmarks/{script})"
        pages[path.stem] = f"# {title}\n\nWritten by {source}.\n{text}"
    return pages


def write_pages(app, config):
    """Write the generated pages that have changed."""
    for folder, suffix, pages in (
        ("methods", ".rst", methods()),
        ("results", ".md", results()),
    ):
        (DOCS / folder).mkdir(exist_ok=True)
        for name, text in pages.items():
            path = DOCS / folder / f"{name}{suffix}"
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")


def adapt_links(app, docname, source):
    """Point the links to files outside of docs, which GitHub follows, at the site."""
    source[0] = re.sub(r"\]\((?:\.\./)+benchmarks/results/", "](/results/", source[0])
    source[0] = re.sub(
        r"\]\((?:\.\./)+((?:sk_dml|benchmarks|examples|tests)\b)",
        rf"]({REPOSITORY}\1",
        source[0],
    )


def resolve_exports(app, env, node, contnode):
    """Resolve names such as sk_dml.map_at_r to the module that documents them."""
    module, _, name = node.get("reftarget", "").rpartition(".")
    home = EXPORTS.get(name) if module == "sk_dml" else None
    if home is None:
        return None
    arguments = node["reftype"], f"{home}.{name}", node, contnode
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, *arguments
    )


def setup(app):
    """Register the hooks."""
    app.connect("config-inited", write_pages)
    app.connect("source-read", adapt_links)
    app.connect("missing-reference", resolve_exports)
    return {"parallel_read_safe": True}
