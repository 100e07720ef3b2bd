"""A small course for the suite check: conv2d forward and backward by hand, with a weak suite and a mended one."""

from tests.support.course import CourseFolder

SOURCE = '''\
import numpy as np


def conv2d(x: np.ndarray, w: np.ndarray, stride: int = 1) -> np.ndarray:
    """Return the cross-correlation of images with filters, without padding.

    Args:
        x: images of shape (n, height, width); not changed.
        w: one filter of shape (k, l); not changed.
        stride: the step between neighbouring windows, in both directions.

    Returns:
        an array of shape (n, (height - k) // stride + 1, (width - l) // stride + 1), of x's dtype.

    Raises:
        ValueError: the filter is larger than the images.
    """
    ### BEGIN SOLUTION
    k, l = w.shape
    if k > x.shape[1] or l > x.shape[2]:
        raise ValueError("the filter is larger than the images")
    height, width = (x.shape[1] - k) // stride + 1, (x.shape[2] - l) // stride + 1
    y = np.zeros((len(x), height, width), dtype=x.dtype)
    for i in range(k):
        for j in range(l):
            y += w[i, j] * x[:, i : i + stride * height : stride, j : j + stride * width : stride]
    return y
    ### END SOLUTION


def conv2d_backward(x: np.ndarray, w: np.ndarray, grad: np.ndarray, stride: int = 1) -> tuple:
    """Return the gradients for the images and the filter.

    Args:
        x: the images; not changed.
        w: the filter; not changed.
        grad: the gradient for the result of conv2d.
        stride: as in conv2d.
    """
    ### BEGIN SOLUTION
    k, l = w.shape
    height, width = grad.shape[1:]
    grad_x, grad_w = np.zeros_like(x), np.zeros_like(w)
    for i in range(k):
        for j in range(l):
            rows, columns = slice(i, i + stride * height, stride), slice(j, j + stride * width, stride)
            grad_x[:, rows, columns] += w[i, j] * grad
            grad_w[i, j] = (x[:, rows, columns] * grad).sum()
    return grad_x, grad_w
    ### END SOLUTION
'''

PROBES = """\
def forward(x, w, stride):
    from src.conv import conv2d
    return conv2d(x, w, stride)


def backward(x, w, grad, stride):
    from src.conv import conv2d_backward
    grad_x, grad_w = conv2d_backward(x, w, grad, stride)
    return {"grad_x": grad_x, "grad_w": grad_w}


def unchanged(x, w, grad, stride):
    from src.conv import conv2d, conv2d_backward
    conv2d(x, w, stride)
    conv2d_backward(x, w, grad, stride)
    return {"x": x, "w": w}


def refused(x, w):
    from src.conv import conv2d
    try:
        conv2d(x, w)
    except Exception as error:
        return type(error).__name__
    return "nothing"
"""

WEAK_SCORE = '''\
import numpy as np
import probes

from autograder.testing import assert_close, assert_equal, case


@case(task=3, points=40)
def test_forward(student, ref):
    """The forward pass on square images."""
    x, w = np.ones((1, 4, 4)), np.ones((2, 2))
    assert_close(student(probes.forward, x, w, 1), ref(probes.forward, x, w, 1), what="y")


@case(task=3, points=40)
def test_backward(student, ref, rng):
    """Both gradients on square images."""
    x, w, grad = rng.standard_normal((2, 4, 4)), rng.standard_normal((2, 2)), rng.standard_normal((2, 3, 3))
    expected = ref(probes.backward, x, w, grad, 1)
    assert_close(student(probes.backward, x, w, grad, 1), expected, rtol=0.5, atol=1, what="gradients")


@case(task=3, points=20)
def test_shape(student, ref, rng):
    """The shape of the result."""
    x, w = rng.standard_normal((3, 5, 5)), rng.standard_normal((3, 3))
    expected = ref(probes.forward, x, w, 1)
    assert_equal(student(probes.forward, x, w, 1).shape, expected.shape, what="the shape of y")
'''

GOOD_SCORE = '''\
import numpy as np
import probes

from autograder.testing import assert_close, assert_equal, case

TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def draw(rng, stride, dtype=np.float64):
    """Return images, a filter and a gradient; all sizes differ."""
    height, width, k, l = 9, 7, 3, 2
    shape = (2, (height - k) // stride + 1, (width - l) // stride + 1)
    made = rng.standard_normal((2, height, width)), rng.standard_normal((k, l)), rng.standard_normal(shape)
    return tuple(array.astype(dtype) for array in made)


@case(task=3, points=40)
def test_forward(student, ref, rng):
    """conv2d of images whose sides differ, with strides 1, 2 and 3, in float64 and float32."""
    for stride in (1, 2, 3):
        x, w, _ = draw(rng, stride)
        expected = ref(probes.forward, x, w, stride)
        assert_close(student(probes.forward, x, w, stride), expected, **TIGHT, what=f"y for stride {stride}")
    x, w, _ = draw(rng, 1, np.float32)
    expected = ref(probes.forward, x, w, 1)
    assert_close(student(probes.forward, x, w, 1), expected, rtol=1e-5, atol=1e-5, what="y in float32")


@case(task=3, points=40)
def test_backward(student, ref, rng):
    """Both gradients with strides 1 and 2; the images and the filter are not changed."""
    for stride in (1, 2):
        inputs = draw(rng, stride)
        expected = ref(probes.backward, *inputs, stride)
        assert_close(student(probes.backward, *inputs, stride), expected, **TIGHT, what=f"stride {stride}")
    x, w, grad = inputs
    after = student(probes.unchanged, x, w, grad, 2)
    assert_close(after, {"x": x, "w": w}, rtol=0, atol=0, what="the inputs after both calls")


@case(task=3, points=20)
def test_sizes(student, ref, rng):
    """A filter as large as the images, and ValueError for one that is higher or wider."""
    x = rng.standard_normal((2, 3, 4))
    w = rng.standard_normal((3, 4))
    assert_close(student(probes.forward, x, w, 1), ref(probes.forward, x, w, 1), **TIGHT, what="y of one window")
    for shape in ((4, 4), (3, 5)):
        raised = student(probes.refused, x, rng.standard_normal(shape))
        assert_equal(raised, "ValueError", what=f"the exception for a filter of shape {shape}")
'''

SETTINGS = '[assignments.t.release]\ntask = "Task3"\nscore = 0\nfiles = ["src/conv.py"]\n'


def course(folder, score):
    """Return the folder of a course whose assignment `t` is conv2d, with one of the two suites."""
    made = CourseFolder(folder, score=score, probes=PROBES, settings='preload = ["numpy"]\n\n' + SETTINGS)
    (folder / "src/work.py").unlink()
    made.write("src/conv.py", SOURCE)
    return made
