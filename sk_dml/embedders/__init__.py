"""Every method: its embedder and its loss, one file each, exported by one line here."""

from sk_dml.embedders._arc_face import *
from sk_dml.embedders._circle import *
from sk_dml.embedders._contrastive import *
from sk_dml.embedders._cos_face import *
from sk_dml.embedders._fast_ap import *
from sk_dml.embedders._multi_similarity import *
from sk_dml.embedders._nca import *
from sk_dml.embedders._normalized_softmax import *
from sk_dml.embedders._nt_xent import *
from sk_dml.embedders._proxy_anchor import *
from sk_dml.embedders._soft_triple import *
from sk_dml.embedders._sup_con import *
from sk_dml.embedders._triplet import *
