"""Stanford Cars."""

from scipy.io import loadmat

from sk_dml.datasets._base import (
    check_complete,
    dataset_folder,
    fetcher,
    make_bunch,
    reading,
)
from sk_dml.datasets._download import Remote, fetch_file, fetch_folder

# The authors publish no checksums; public loaders agree on these.
ANNOTATIONS = Remote(
    "cars_annos.mat",
    ("http://ai.stanford.edu/~jkrause/car196/cars_annos.mat",),
    "md5:b407c6086d669747186bd1d764ff9dbc",
)
ARCHIVE = Remote(
    "car_ims.tgz",
    ("http://ai.stanford.edu/~jkrause/car196/car_ims.tgz",),
    "md5:d5c8f0aa497503f355e17dc7886c3f14",
)
N_SAMPLES, N_CLASSES, N_TRAIN_CLASSES = 16185, 196, 98
DESCR = """\
Stanford Cars (Cars196): 16,185 photographs of cars of 196 makes, models and years.

Split: the first 98 classes for training, the others for test. The authors' own split,
of the images of every class, is not used.

J. Krause, M. Stark, J. Deng, L. Fei-Fei. "3D Object Representations for Fine-Grained
Categorization". 4th IEEE Workshop on 3D Representation and Recognition, ICCV 2013.
"""


@fetcher(folder="cars196")
def fetch_cars196(
    *,
    subset="all",
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
    n_retries=3,
    delay=1.0,
):
    """Load the paths and classes of the cars Cars196 (image retrieval).

    Download them if necessary: 1.9 GB, verified by their MD5 sums.

    ==================   ============
    Classes                       196
    Classes to train     the first 98
    Samples                    16,185
    Samples to train            8,054
    Images                       JPEG
    ==================   ============

    Parameters
    ----------
    <shared parameters>

    Returns
    -------
    <shared returns>

    Notes
    -----
    The authors' server has not served the files since 2023. You may put copies of
    ``cars_annos.mat`` and ``car_ims.tgz``, or its folder ``car_ims`` (000001.jpg to
    016185.jpg), into ``sk_dml/cars196`` of the data home. Other editions, with images
    in two folders, are numbered differently and do not fit.

    References
    ----------
    .. [1] J. Krause, M. Stark, J. Deng, L. Fei-Fei. "3D Object Representations for
           Fine-Grained Categorization". 4th IEEE Workshop on 3D Representation and
           Recognition, ICCV 2013.

    Examples
    --------
    >>> from sk_dml.datasets import fetch_cars196
    >>> X, y = fetch_cars196(subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (8054,)
    """
    folder = dataset_folder(data_home, "cars196")
    options = {
        "download_if_missing": download_if_missing,
        "n_retries": n_retries,
        "delay": delay,
    }
    annotations = fetch_file(ANNOTATIONS, folder, **options)
    root = fetch_folder(ARCHIVE, folder, "car_ims", **options)
    files, target, target_names = _read(annotations)
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
    """Return the files, targets and class names of the annotations."""
    with reading(path):
        content = loadmat(path, variable_names=["annotations", "class_names"])
        rows = content["annotations"].ravel()
        files = [str(row["relative_im_path"].item()) for row in rows]
        target = [int(row["class"].item()) - 1 for row in rows]
        names = [str(name.item()) for name in content["class_names"].ravel()]
    return [file.removeprefix("car_ims/") for file in files], target, names
