"""Omniglot."""

from sk_dml.datasets._base import (
    check_complete,
    dataset_folder,
    fetcher,
    files_below,
    make_bunch,
)
from sk_dml.datasets._download import Remote, fetch_folder

URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/{}"
# The authors publish no checksums; these are torchvision's.
BACKGROUND = Remote(
    "images_background.zip",
    (URL.format("images_background.zip"),),
    "md5:68d2efa1b9178cc56df9314c21c6e718",
)
EVALUATION = Remote(
    "images_evaluation.zip",
    (URL.format("images_evaluation.zip"),),
    "md5:6b91aef0f799c5bb55b94e3f2daec811",
)
# Numbers of images and characters.
N_BACKGROUND, N_EVALUATION = (19280, 964), (13180, 659)
DESCR = """\
Omniglot: 32,460 drawings of 1,623 characters of 50 alphabets, each by 20 people.

Split: the authors' own, by alphabet: 964 characters of 30 alphabets ("background") for
training, 659 of 20 others ("evaluation") for test. Ink is 0 on 255.

B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum. "Human-level concept learning through
probabilistic program induction". Science 350, 2015. https://github.com/brendenlake/omniglot
"""


@fetcher(folder="omniglot", groups="The alphabets.")
def fetch_omniglot(
    *,
    subset="all",
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
    n_retries=3,
    delay=1.0,
):
    """Load the paths and classes of the characters Omniglot (image retrieval).

    Download them if necessary: 16 MB, verified by their MD5 sums.

    ==================   =====================
    Classes                              1,623
    Classes to train                       964
    Samples                             32,460
    Samples to train                    19,280
    Images               PNG, 105 x 105, 1 bit
    ==================   =====================

    Parameters
    ----------
    <shared parameters>

    Returns
    -------
    <shared returns>

    References
    ----------
    .. [1] B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum. "Human-level concept learning
           through probabilistic program induction". Science 350, 2015.

    Examples
    --------
    >>> from sk_dml.datasets import fetch_omniglot
    >>> X, y = fetch_omniglot(subset="train", return_X_y=True)  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (19280,)
    """
    folder = dataset_folder(data_home, "omniglot")
    files: list[str] = []
    target: list[int] = []
    names: list[str] = []
    n_train = 0
    parts = (BACKGROUND, *N_BACKGROUND), (EVALUATION, *N_EVALUATION)
    for remote, n_samples, n_classes in parts:
        n_train = len(files)  # after the loop: the images before the last archive
        member = remote.filename.removesuffix(".zip")
        root = fetch_folder(
            remote,
            folder,
            member,
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        images = [
            path
            for path in files_below(root)
            if path.count("/") == 2 and path.endswith(".png")
        ]
        characters = [path.rpartition("/")[0] for path in images]
        check_complete(
            root, images, characters, n_samples=n_samples, n_classes=n_classes
        )
        new_names = sorted(set(characters))
        codes = {name: code for code, name in enumerate(new_names, len(names))}
        files += [f"{member}/{path}" for path in images]
        target += [codes[character] for character in characters]
        names += new_names
    return make_bunch(
        folder,
        files,
        target,
        target_names=names,
        is_train=[i < n_train for i in range(len(files))],
        groups=[file.split("/")[1] for file in files],
        descr=DESCR,
        subset=subset,
        return_X_y=return_X_y,
    )
