"""Every method: its embedder and its loss, one file each, exported by one line here."""

from sk_dml.embedders._circle import *  # noqa: F403
from sk_dml.embedders._contrastive import *  # noqa: F403
from sk_dml.embedders._normalized_softmax import *  # noqa: F403
from sk_dml.embedders._soft_triple import *  # noqa: F403
from sk_dml.embedders._triplet import *  # noqa: F403
