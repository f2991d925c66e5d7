"""Every method: its embedder and its loss, one file each, exported by one line here."""

from sk_dml.embedders._arc_face import *  # noqa: F403
from sk_dml.embedders._circle import *  # noqa: F403
from sk_dml.embedders._contrastive import *  # noqa: F403
from sk_dml.embedders._cos_face import *  # noqa: F403
from sk_dml.embedders._fast_ap import *  # noqa: F403
from sk_dml.embedders._lifted_structure import *  # noqa: F403
from sk_dml.embedders._multi_similarity import *  # noqa: F403
from sk_dml.embedders._nca import *  # noqa: F403
from sk_dml.embedders._normalized_softmax import *  # noqa: F403
from sk_dml.embedders._nt_xent import *  # noqa: F403
from sk_dml.embedders._proxy_anchor import *  # noqa: F403
from sk_dml.embedders._soft_triple import *  # noqa: F403
from sk_dml.embedders._sup_con import *  # noqa: F403
from sk_dml.embedders._triplet import *  # noqa: F403
