"""Characters drawn in the fonts that matplotlib ships."""

from collections import Counter
from functools import cache
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import Interval, validate_params

from sk_dml._utils._warn import warn

# Text faces with a Unicode map. Computer Modern has its own encoding, and the others
# hold symbols or placeholders.
FACES = ("DejaVuSans*.ttf", "DejaVuSerif*.ttf", "STIXGeneral*.ttf")
NOT_TEXT = "Display"
MIN_FACES = 10  # faces that must have the character of a class

OVERSAMPLING = 2
EM, BASELINE = 0.8, 0.77  # height of the font and of the line, as shares of the image
# Largest changes, at jitter=1: degrees, shear, share of the size, share of the image.
ROTATION, SHEAR, SCALE, SHIFT = 15.0, 0.2, 0.15, 0.08
DESCR = """\
Letters and digits of many scripts, drawn at run time in the text faces that matplotlib
ships: DejaVu Sans, Sans Mono and Serif, and STIX General, each upright and slanted, in
two weights. A class is a character. Ink is 255 on 0.
"""


@validate_params(
    {
        "n_classes": [Interval(Integral, 1, None, closed="left"), None],
        "n_samples_per_class": [Interval(Integral, 1, None, closed="left")],
        "image_size": [Interval(Integral, 8, None, closed="left")],
        "jitter": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
        "return_X_y": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_glyphs(
    *,
    n_classes=None,
    n_samples_per_class=20,
    image_size=32,
    jitter=0.5,
    random_state=None,
    return_X_y=False,
):
    """Draw images of characters, as many classes as a retrieval task needs.

    Classes are the letters and digits of at least ten of the text faces that matplotlib
    ships: 1,572 with matplotlib 3.11, of the Latin, Greek, Cyrillic and other scripts,
    in the order of their code points. Nothing is downloaded. matplotlib is required, as
    the extra ``plots`` installs it.

    Parameters
    ----------
    n_classes : int, default=None
        Number of classes, at least 1: the first ones. None takes all.
    n_samples_per_class : int, default=20
        Number of images of every class, at least 1. They take the faces of the class in
        turn, in random order, each image with its own jitter.
    image_size : int, default=32
        Height and width in pixels, at least 8.
    jitter : float, default=0.5
        How much the images of a face differ, in [0, 1]. At 1 a character is rotated by
        up to 15 degrees, sheared by up to 0.2, scaled by up to 15 % and shifted by up
        to 8 % of the image, within its edges. At 0 all images of a face are equal.
    random_state : int, RandomState instance or None, default=None
        Draws the faces and the jitter. With an int, the images of a class do not depend
        on ``n_classes``.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` instead of a Bunch.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Attributes:

        images : ndarray of shape (n_samples, image_size, image_size), dtype uint8
            Ink is 255 on 0.
        target : ndarray of shape (n_samples,), dtype int64
            Their classes, from 0 to n_classes - 1, in order.
        target_names : ndarray of shape (n_classes,), dtype str
            The characters.
        faces : ndarray of shape (n_samples,), dtype str
            The files of the faces, such as "DejaVuSans-Bold.ttf".
        DESCR : str
            A description.

    (images, target) : tuple of two ndarrays
        If ``return_X_y=True``.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If there are fewer classes than ``n_classes``.

    Warns
    -----
    UserWarning
        If images are equal because there is no jitter and there are too few faces.

    Notes
    -----
    Some classes look alike, so no embedding separates all of them: 80 to 90 characters,
    depending on the size, equal another one in all faces that both have, such as the
    letter K and the Kelvin sign, and more do in most faces, such as the Latin A and the
    Greek Alpha. Superscript letters are small, and accents a few pixels.

    Images are bit-identical only with the same versions of matplotlib and Pillow.

    Examples
    --------
    >>> from sk_dml.datasets import load_glyphs
    >>> glyphs = load_glyphs(n_classes=36, n_samples_per_class=8, random_state=0)
    >>> glyphs.images.shape, glyphs.images.dtype
    ((288, 32, 32), dtype('uint8'))
    >>> "".join(glyphs.target_names)
    '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'
    """
    check_matplotlib_support("load_glyphs")
    names, faces_of = _classes()
    n_classes = n_classes or len(names)
    if n_classes > len(names):
        raise ValueError(
            f"n_classes must be at most {len(names)}, the number of characters in "
            f"{MIN_FACES} or more faces, got {n_classes}."
        )
    names = names[:n_classes]
    rng = check_random_state(random_state)
    images = np.empty(
        (n_classes * n_samples_per_class, image_size, image_size), dtype=np.uint8
    )
    faces, n_equal = [], 0
    draw = _Renderer(image_size)
    for k, name in enumerate(names):
        available = faces_of[name]
        order = rng.permutation(len(available))
        jitters = jitter * rng.uniform(-1, 1, size=(n_samples_per_class, 6))
        n_equal += max(0, n_samples_per_class - len(available)) * (jitter == 0)
        for i, amounts in enumerate(jitters):
            face = available[order[i % len(order)]]
            images[k * n_samples_per_class + i] = draw(face, name, amounts)
            faces.append(face.name)
    if n_equal:
        warn(
            f"{n_equal} of {len(images)} images equal others of their class, because "
            "jitter is 0 and n_samples_per_class exceeds the number of faces."
        )
    target = np.repeat(np.arange(n_classes, dtype=np.int64), n_samples_per_class)
    if return_X_y:
        return images, target
    return Bunch(
        images=images,
        target=target,
        target_names=np.asarray(names),
        faces=np.asarray(faces),
        DESCR=DESCR,
    )


@cache
def _classes():
    """Return the characters that are classes, and a dict of the faces of each."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import get_font

    folder = Path(get_data_path()) / "fonts" / "ttf"
    faces = sorted(
        face
        for pattern in FACES
        for face in folder.glob(pattern)
        if NOT_TEXT not in face.name
    )
    characters = {
        face: {
            character
            for character in map(chr, get_font(str(face)).get_charmap())
            if character.isalpha() or character.isdigit()
        }
        for face in faces
    }
    counts = Counter(name for names in characters.values() for name in names)
    names = sorted(name for name, count in counts.items() if count >= MIN_FACES)
    return names, {
        name: [face for face in faces if name in characters[face]] for name in names
    }


class _Renderer:
    """Draw characters as images (size, size), each face loaded once."""

    def __init__(self, image_size):
        self.size = image_size * OVERSAMPLING
        self.fonts = {}

    def __call__(self, face, character, amounts):
        from PIL import Image, ImageDraw, ImageFont  # a dependency of matplotlib

        if face not in self.fonts:
            # Every build of Pillow has the basic layout.
            layout = ImageFont.Layout.BASIC
            size = round(EM * self.size)
            self.fonts[face] = ImageFont.truetype(str(face), size, layout_engine=layout)
        font = self.fonts[face]
        left, top, right, bottom = font.getbbox(character, anchor="ls")
        box = np.array([right - left, bottom - top])
        ink = Image.new("L", (int(box[0]) + 2, int(box[1]) + 2))
        ImageDraw.Draw(ink).text(
            (1 - left, 1 - top), character, font=font, fill=255, anchor="ls"
        )
        center = np.array([self.size / 2, BASELINE * self.size + (top + bottom) / 2])
        matrix, center = self._place(box / 2, center, amounts)
        inverse = np.linalg.inv(matrix)
        origin = (box + 2) / 2 - inverse @ center
        image = ink.transform(
            (self.size, self.size),
            Image.Transform.AFFINE,
            np.column_stack([inverse, origin]).ravel().tolist(),
            resample=Image.Resampling.BICUBIC,
        )
        return np.asarray(image.reduce(OVERSAMPLING))

    def _place(self, half, center, amounts):
        """Return the linear map (2, 2) and the center that keep a box in the image."""
        angle = np.deg2rad(ROTATION) * amounts[0]
        cos, sin = np.cos(angle), np.sin(angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        shear = np.array([[1, SHEAR * amounts[1]], [0, 1]])
        matrix = rotation @ shear @ np.diag(1 + SCALE * amounts[2:4])
        room = self.size / 2 - OVERSAMPLING  # a pixel of the image at every edge
        matrix *= min(1, (room / (np.abs(matrix) @ half)).min())
        reach = np.abs(matrix) @ half + OVERSAMPLING
        center = center + SHIFT * self.size * amounts[4:]
        return matrix, np.clip(center, reach, self.size - reach)
