"""Write docs/methods.md from the docstrings of the embedders and their losses.

Run ``python docs/build_methods.py`` after adding or changing a method.
"""

import inspect
import re
from pathlib import Path

from sk_dml.embedders._pair import PairEmbedder
from sk_dml.losses import CrossBatchMemory
from sk_dml.utils import all_embedders

PAGE = Path(__file__).parent / "methods.md"
HEAD = """\
# Methods

Every method is an embedder in `sk_dml`. Its loss, a torch module for any training loop,
is in `sk_dml.losses`. `build_methods.py` writes this page from their docstrings. The
parameters are in `help(sk_dml.CircleEmbedder)`. Comparisons on data are in
[benchmarks/results](../benchmarks/results).
"""

KINDS = {
    True: """\
These methods compare the samples of a batch with each other. They need two or more
samples of each class, and can use a [cross-batch memory](#cross-batch-memory) for many
classes and small batches. On images they generalize best to classes never seen in
training:""",
    False: """\
These methods compare a batch with proxies, one or more learned vectors of every class.
They accept classes of a single sample and batches of any kind, and are best at
separating the classes that they were trained on:""",
}

MEMORY = """\
## Cross-batch memory

For every method that compares the samples of a batch:
`CircleEmbedder(memory_size=4096)`, or `sk_dml.losses.CrossBatchMemory` around a loss.
Choose it for many classes and small batches, and compare a validation score: for
networks trained from scratch it may help or harm.
"""


def page():
    """Return the text of the page."""
    tables = {compares: ["| embedder | choose it |", "|---|---|"] for compares in KINDS}
    sections = []
    for name, embedder in all_embedders():
        loss = embedder.loss_class
        anchor = name.lower()
        summary, _, description = section(embedder, "", "Parameters").partition("\n")
        description = description.strip()
        when = re.search(r"Choose\s+it\s+(.*)", description, re.DOTALL)[1]
        table = tables[issubclass(embedder, PairEmbedder)]
        table.append(f"| [{name}](#{anchor}) | {' '.join(when.split())} |")
        formula = section(loss, "", "Parameters").partition("\n")[2].strip()
        references = section(loss, "References", "Examples")
        sections.append(
            f"## {name}\n\n{summary} {' '.join(description.split())}\n\n"
            f"{markdown(formula)}\n\n{citations(references)}"
        )
    text = section(CrossBatchMemory, "", "Parameters").partition("\n")[2].strip()
    references = section(CrossBatchMemory, "References", "Examples")
    sections.append(f"{MEMORY.strip()}\n\n{text}\n\n{citations(references)}")
    overview = ["\n".join([KINDS[kind], "", *table]) for kind, table in tables.items()]
    return "\n\n".join([HEAD.strip(), *overview, *sections]) + "\n"


def section(documented, title, following):
    """Return a section of a docstring; the one without a title is the first."""
    text = inspect.cleandoc(documented.__doc__)
    if title:
        text = text.partition(f"\n{title}\n{'-' * len(title)}\n")[2]
    return text.partition(f"\n{following}\n{'-' * len(following)}\n")[0]


def markdown(text):
    """Convert the reStructuredText of a docstring to Markdown."""
    text = re.sub(r"\[(\d)\]_", r"[\1]", text.replace("``", "`"))
    text = re.sub(
        r"\.\. math::(.*?)(?=\n\n\S|\Z)",
        lambda match: f"```math\n{inspect.cleandoc(match[1])}\n```",
        text,
        flags=re.DOTALL,
    )
    return re.sub(r":math:`(.*?)`", r"$`\1`$", text, flags=re.DOTALL)


def citations(text):
    """Convert references to a numbered list."""
    entries = re.split(r"^\.\. \[(\d)\] ", text.strip(), flags=re.MULTILINE)[1:]
    numbers, works = entries[::2], entries[1::2]
    return "\n".join(
        f"{number}. {' '.join(work.split())}"
        for number, work in zip(numbers, works, strict=True)
    )


if __name__ == "__main__":
    PAGE.write_text(page())
