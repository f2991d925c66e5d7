"""Caltech-UCSD Birds-200-2011."""

from sk_dml.datasets._base import (
    check_complete,
    dataset_folder,
    fetcher,
    make_bunch,
    reading,
)
from sk_dml.datasets._download import Remote, fetch_folder

# The checksum is that of CaltechDATA.
ARCHIVE = Remote(
    "CUB_200_2011.tgz",
    ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",),
    "md5:97eceeb196236b17998738112f37df78",
)
N_SAMPLES, N_CLASSES, N_TRAIN_CLASSES = 11788, 200, 100
DESCR = """\
Caltech-UCSD Birds-200-2011: 11,788 photographs of birds of 200 species.

Split: the first 100 species for training, the others for test. The authors' own split,
of the images of every class, is not used.

C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie. "The Caltech-UCSD
Birds-200-2011 Dataset". Technical Report CNS-TR-2011-001, California Institute of
Technology, 2011.
https://www.vision.caltech.edu/datasets/cub_200_2011/
"""


@fetcher(folder="cub200")
def fetch_cub200(
    *,
    subset="all",
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
    n_retries=3,
    delay=1.0,
):
    """Load the paths and classes of the birds CUB-200-2011 (image retrieval).

    Download them if necessary: 1.1 GB, verified by their MD5 sum.

    ==================   ===================
    Classes                              200
    Classes to train           the first 100
    Samples                           11,788
    Samples to train                   5,864
    Images               JPEG, a few in gray
    ==================   ===================

    Parameters
    ----------
    <shared parameters>

    Returns
    -------
    <shared returns>

    References
    ----------
    .. [1] C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie. "The Caltech-UCSD
           Birds-200-2011 Dataset". Technical Report CNS-TR-2011-001, California
           Institute of Technology, 2011.

    Examples
    --------
    >>> from sk_dml.datasets import fetch_cub200
    >>> X, y = fetch_cub200(subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (5864,)
    """
    folder = dataset_folder(data_home, "cub200")
    root = fetch_folder(
        ARCHIVE,
        folder,
        "CUB_200_2011",
        download_if_missing=download_if_missing,
        n_retries=n_retries,
        delay=delay,
    )
    images, labels, classes = (
        _read(root / name)
        for name in ("images.txt", "image_class_labels.txt", "classes.txt")
    )
    with reading(root / "image_class_labels.txt"):
        target = [int(labels[image]) - 1 for image in images]
        target_names = [classes[str(k + 1)] for k in range(max(target) + 1)]
    files = list(images.values())
    root = root / "images"
    check_complete(root, files, target, n_samples=N_SAMPLES, n_classes=N_CLASSES)
    return make_bunch(
        root,
        files,
        target,
        target_names=target_names,
        is_train=[k < N_TRAIN_CLASSES for k in target],
        descr=DESCR,
        subset=subset,
        return_X_y=return_X_y,
    )


def _read(path):
    """Return a dict from lines of a key and a value."""
    with reading(path), path.open(encoding="utf-8") as lines:
        return dict(map(str.split, lines))
