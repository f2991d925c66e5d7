"""Splitters that keep every class whole, on one side of a split."""

from sk_dml.model_selection._split import (
    ClassDisjointKFold,
    ClassDisjointShuffleSplit,
    RepeatedClassDisjointKFold,
    class_disjoint_split,
)

__all__ = [
    "ClassDisjointKFold",
    "ClassDisjointShuffleSplit",
    "RepeatedClassDisjointKFold",
    "class_disjoint_split",
]
