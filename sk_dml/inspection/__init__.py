"""Pictures of embeddings, as scikit-learn's Display classes.

``from_estimator`` and ``from_embeddings`` compute and draw; the object they return
keeps the numbers, and its ``plot`` draws them again. Drawing needs matplotlib
(``pip install "sk-dml[plots]"``).
"""

from sk_dml.inspection._embedding import EmbeddingDisplay
from sk_dml.inspection._recall_curve import RecallCurveDisplay
from sk_dml.inspection._retrieval import RetrievalDisplay
from sk_dml.inspection._similarity import SimilarityDisplay
from sk_dml.inspection._training import TrainingDisplay

__all__ = [
    "EmbeddingDisplay",
    "RecallCurveDisplay",
    "RetrievalDisplay",
    "SimilarityDisplay",
    "TrainingDisplay",
]
