"""The kinds of assignments that `autograder new` makes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CaseText:
    """One case, as the handout lists it: its points, and what it asks, in English and in Chinese."""

    points: int
    english: str
    chinese: str


@dataclass(frozen=True)
class Kind:
    """One kind of assignment.

    Attributes:
        folder: its folder in `templates/`.
        about: for `--help`.
        title: default title.
        file: where students write, below src/; `@module@` is a placeholder.
        packages: what student code may import besides the standard library.
        cases: the cases of its suite, in order.
        sample: what the wrong sample does, as the name of a folder.
        tables: further lines of `[assignments.NAME]`, with placeholders.
        more: further tables of the assignment, with placeholders.
        tools: what students install besides the packages, pytest and pytest-timeout.
        hints, hints_zh: further paragraphs of the handout, in English and in Chinese, with placeholders.
    """

    folder: str
    about: str
    title: str
    file: str
    packages: tuple[str, ...]
    cases: tuple[CaseText, ...]
    sample: str
    tables: str = ""
    more: str = ""
    tools: tuple[str, ...] = ()
    hints: str = ""
    hints_zh: str = ""


NUMPY = Kind(
    "numpy",
    "NumPy",
    "Rows of length 1",
    "@module@.py",
    ("numpy",),
    (
        CaseText(50, "every row has length 1", "每一行的长度为 1"),
        CaseText(25, "a row of zeros, in float32", "全零的行，float32"),
        CaseText(25, "what does not have two dimensions is refused", "不是二维时报错"),
    ),
    "columns",
)
PLAIN = Kind(
    "plain",
    "Python without packages",
    "Intervals",
    "@module@.py",
    (),
    (
        CaseText(50, "intervals that overlap, in any order", "任意顺序、互相重叠的区间"),
        CaseText(25, "intervals that touch, and none", "首尾相接的区间，以及空列表"),
        CaseText(25, "an interval that ends before it begins is refused", "终点小于起点时报错"),
    ),
    "touching",
)
SANITIZER = """
```sh
export CXX="g++ -g -fsanitize=address,undefined"
LD_PRELOAD="$(g++ -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 pytest -s @tests@
unset CXX
```
"""
CPP = Kind(
    "cpp",
    "C++, called from Python",
    "Prefix sums in C++",
    "@module@_ext/@module@.cpp",
    ("numpy",),
    (
        CaseText(60, "sums of a few numbers; nothing else is written", "几个数的前缀和，不写到别处"),
        CaseText(20, "a large number and many small ones", "一个大数和许多小数"),
        CaseText(20, "what is allocated is freed, and no array is overrun", "释放申请的内存，不越界"),
    ),
    "float",
    more="""
[assignments.@assignment@.build]
cpp = "src/@module@_ext"               # the program builds it; students write @module@.cpp, the other files are given
""",
    tools=("pybind11",),
    hints=f"""
**AddressSanitizer** stops at the first access outside an array and names the line. On Linux:
{SANITIZER}
This build takes a minute, once. In what it prints, look for `@module@.cpp:` and a number.
""",
    hints_zh=f"""
**AddressSanitizer** 会在第一次数组越界时停下，并指出是哪一行。在 Linux 上：
{SANITIZER}
只有第一次编译需要约一分钟。在输出里找 `@module@.cpp:` 和它后面的行号。
""",
)
CUDA = Kind(
    "cuda",
    "torch on a GPU",
    "Softmax on a GPU",
    "@module@.py",
    ("numpy", "torch"),
    (
        CaseText(40, "values, shape, dtype and device", "数值、形状、dtype 和设备"),
        CaseText(20, "numbers of 1e4", "大到 1e4 的数"),
        CaseText(
            40,
            "the time, against `torch.softmax` on the same device",
            "在同一设备上与 `torch.softmax` 比较用时",
        ),
    ),
    "large",
    tables="""timeout = 60
queue = "gpu"                         # graded by: autograder worker --queues gpu
@devices@
""",
    more="""
[assignments.@assignment@.limits]
limit_address_space = false           # CUDA reserves a very large address space
memory_bytes = 8_589_934_592          # of the host; CUDA needs some GB of it
processes = 256                       # CUDA starts threads
""",
)
BY_NAME = {"numpy": NUMPY, "plain": PLAIN, "cpp": CPP, "cuda": CUDA}
"""The kinds by the option that chooses them; `numpy` is the default."""
