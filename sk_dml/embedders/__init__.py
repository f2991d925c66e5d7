"""Every method: its embedder and its loss, one file each, exported by one line here."""

from sk_dml.embedders._ada_cos import *
from sk_dml.embedders._arc_face import *
from sk_dml.embedders._center import *
from sk_dml.embedders._circle import *
from sk_dml.embedders._contrastive import *
from sk_dml.embedders._cos_face import *
from sk_dml.embedders._fast_ap import *
from sk_dml.embedders._lifted_structure import *
from sk_dml.embedders._margin import *
from sk_dml.embedders._multi_similarity import *
from sk_dml.embedders._n_pairs import *
from sk_dml.embedders._nca import *
from sk_dml.embedders._normalized_softmax import *
from sk_dml.embedders._nt_xent import *
from sk_dml.embedders._proxy_anchor import *
from sk_dml.embedders._proxy_nca import *
from sk_dml.embedders._smooth_ap import *
from sk_dml.embedders._snr_contrastive import *
from sk_dml.embedders._soft_triple import *
from sk_dml.embedders._softmax import *
from sk_dml.embedders._sphere_face import *
from sk_dml.embedders._sub_center_arc_face import *
from sk_dml.embedders._sup_con import *
from sk_dml.embedders._triplet import *
