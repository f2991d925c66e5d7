"""Stanford Online Products."""

import numpy as np

from sk_dml.datasets._base import (
    check_complete,
    dataset_folder,
    fetcher,
    make_bunch,
    reading,
)
from sk_dml.datasets._download import Remote, fetch_folder

# The authors publish no checksum; public loaders agree on this one.
ARCHIVE = Remote(
    "Stanford_Online_Products.zip",
    (
        "http://ftp.cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",
        "https://drive.usercontent.google.com/download"
        "?id=1TclrpQOF_ullUP99wk_gjGN8pKvtErG8&export=download&confirm=t",
    ),
    "md5:7f73d41a2f44250d4779881525aea32e",
)
N_SAMPLES, N_CLASSES = 120053, 22634
DESCR = """\
Stanford Online Products: 120,053 photographs of 22,634 products in 12 categories.

Split: the authors' own, by class: 59,551 images of 11,318 products for training, 60,502
of the other 11,316 for test.

H. O. Song, Y. Xiang, S. Jegelka, S. Savarese. "Deep Metric Learning via Lifted
Structured Feature Embedding". CVPR 2016. https://cvgl.stanford.edu/projects/lifted_struct/
"""


@fetcher(folder="sop", groups="The categories of the products, such as bicycle.")
def fetch_sop(
    *,
    subset="all",
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
    n_retries=3,
    delay=1.0,
):
    """Load the paths and classes of Stanford Online Products (image retrieval).

    Download them if necessary: 2.9 GB, verified by their MD5 sum.

    ==================   =======
    Classes               22,634
    Classes to train      11,318
    Samples              120,053
    Samples to train      59,551
    Images                  JPEG
    ==================   =======

    Parameters
    ----------
    <shared parameters>

    Returns
    -------
    <shared returns>

    References
    ----------
    .. [1] H. O. Song, Y. Xiang, S. Jegelka, S. Savarese. "Deep Metric Learning via
           Lifted Structured Feature Embedding". CVPR 2016.

    Examples
    --------
    >>> from sk_dml.datasets import fetch_sop
    >>> X, y = fetch_sop(subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (59551,)
    """
    folder = dataset_folder(data_home, "sop")
    root = fetch_folder(
        ARCHIVE,
        folder,
        "Stanford_Online_Products",
        download_if_missing=download_if_missing,
        n_retries=n_retries,
        delay=delay,
    )
    train, test = (_read(root / f"Ebay_{part}.txt") for part in ("train", "test"))
    rows = train + test
    files = [file for _, _, _, file in rows]
    # Products have no names, but numbers from 1 on.
    target = np.array([int(row[1]) for row in rows]) - 1
    check_complete(root, files, target, n_samples=N_SAMPLES, n_classes=N_CLASSES)
    return make_bunch(
        root,
        files,
        target,
        target_names=np.arange(1, target.max() + 2).astype(str),
        is_train=np.arange(len(rows)) < len(train),
        groups=[file.partition("/")[0].removesuffix("_final") for file in files],
        descr=DESCR,
        subset=subset,
        return_X_y=return_X_y,
    )


def _read(path):
    """Return rows of image_id, class_id, super_class_id and path, without header."""
    with reading(path), path.open(encoding="utf-8") as lines:
        next(lines, None)
        rows = [line.split() for line in lines]
        for number, row in enumerate(rows, 2):
            if len(row) != 4 or not row[1].isdecimal():
                raise ValueError(f"line {number}: {' '.join(row)}")
    return rows
