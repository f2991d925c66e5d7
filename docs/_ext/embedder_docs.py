"""Docstrings on the site: of embedders, the formula first, parameters in groups."""

import inspect
import re
from dataclasses import fields

from sk_dml.embedders._base import BaseEmbedder
from sk_dml.embedders._pair import PairEmbedder

# The first parameter of every group, in the order of the signature.
GROUPS = {
    "n_components": "Network and images",
    "max_epochs": "Optimization",
    "early_stopping": "Early stopping and validation",
    "backbone_lr": "Computation, callbacks and checkpoints",
    "memory_size": "Cross-batch memory",
}
SHARED = {field.name for cls in (BaseEmbedder, PairEmbedder) for field in fields(cls)}


def is_embedder(documented):
    """Return whether an object is a class of embedders."""
    return inspect.isclass(documented) and issubclass(documented, BaseEmbedder)


def shorten_signature(app, what, name, documented, options, signature, returns):
    """Return the signature without the shared parameters but the first."""
    if not is_embedder(documented):
        return None
    parameters = inspect.signature(documented).parameters.values()
    own = [f"{p.name}={p.default!r}" for p in parameters if p.name not in SHARED]
    return f"({', '.join(['n_components=64', '*', *own, '...'])})", ""


def move_formula(app, what, name, documented, options, lines):
    """Move the formula, which the Notes hold, before the parameters."""
    if not is_embedder(documented):
        return
    head, parameters, rest = "\n".join(lines).partition("\nParameters\n----------\n")
    before, _, notes = rest.partition("\nNotes\n-----\n")
    notes, references, after = notes.partition("\nReferences\n----------\n")
    loss = documented.loss_class.__name__
    loss = f"The loss is :class:`sk_dml.losses.{loss}`."
    parts = head, loss, notes, parameters + before, references + after
    lines[:] = "\n\n".join(parts).split("\n")


def group_parameters(app, what, name, documented, options, lines):
    """Put the shared parameters into groups, after those of the method."""
    if not is_embedder(documented):
        return
    head, field, rest = "\n".join(lines).partition("\n:Parameters:\n")
    body = re.match(r"(?:\n| .*\n)*", rest)[0]
    own, groups = [], {}
    for entry in re.split(r"^(?=    \*\*\w.*\*\* :)", body, flags=re.MULTILINE)[1:]:
        parameter = re.match(r" *\*\*(\w+)", entry)[1]
        if parameter in GROUPS:
            groups[parameter] = []
        target = groups[[*groups][-1]] if parameter in SHARED else own
        target.append(entry.rstrip() + "\n")
    own.append("    Shared with other embedders:\n")
    for first, entries in groups.items():
        names = re.findall(r"^    \*\*(\w+)", "\n".join(entries), re.MULTILINE)
        names = ", ".join(f"``{name}``" for name in names)
        text = "\n".join(entries).replace("\n", "\n    ")
        own.append(f"    .. dropdown:: {GROUPS[first]}: {names}\n\n    {text}\n")
    rest = rest.removeprefix(body)
    lines[:] = "\n".join([head, field, *own, rest]).split("\n")


def escape_shapes(app, what, name, documented, options, lines):
    """Escape names such as n_features_in_ in shapes, which are no references."""
    lines[:] = [
        re.sub(r"_(?=[,)])", r"\\_", line) if " of shape (" in line else line
        for line in lines
    ]


def setup(app):
    """Register the hooks; those of numpydoc have priority 500."""
    app.connect("autodoc-process-docstring", escape_shapes, priority=600)
    app.connect("autodoc-process-signature", shorten_signature, priority=400)
    app.connect("autodoc-process-docstring", move_formula, priority=400)
    app.connect("autodoc-process-docstring", group_parameters, priority=600)
    return {"parallel_read_safe": True}
