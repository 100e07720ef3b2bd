# The image that students work in, and, without the last stage, one that submissions are graded in.
#
#   autograder release image [--light] --save         what the staff runs; it knows all of the options below
#   docker build --target sandbox -t a_sandbox:v1 .   for `autograder grade --sandbox docker --image a_sandbox:v1`
#
# BuildKit is needed: DOCKER_BUILDKIT=1 where it is not the default.
ARG BASE_IMAGE=nvcr.io/nvidia/pytorch:25.12-py3

# ── a compiler, for the C++ extension of Task1; most bases have one ──────────────────────────────────────
FROM ${BASE_IMAGE} AS base
# Images are made by root here, and used by another user at the end.
USER 0
# Which version of g++ there is depends on the base, which is given by its tag.
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    command -v g++ >/dev/null || { \
        apt-get update && \
        apt-get install -y --no-install-recommends g++ && \
        rm -rf /var/lib/apt/lists/*; }

# ── the packages, in a virtual environment that sees those of the base ───────────────────────────────────
FROM base AS packages
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_FIND_LINKS=
COPY requirements.txt /tmp/requirements.txt
# A torch that the base brings was built for its CUDA, and stays. PIP_CONSTRAINT is the base's opinion of versions.
RUN --mount=type=cache,target=/root/.cache/pip \
    export PIP_CONSTRAINT='' PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 && \
    python3 -m venv --system-site-packages /opt/venv && \
    if python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then \
        sed -i '/^torch[=<>~! ]/d' /tmp/requirements.txt; \
    fi && \
    /opt/venv/bin/pip install -r /tmp/requirements.txt
# A pytest that the base brings runs in the base's Python, which does not see what is installed here.
RUN test -x /opt/venv/bin/pytest || { \
        printf '#!/opt/venv/bin/python3\nimport sys, pytest\nsys.exit(pytest.main())\n' > /opt/venv/bin/pytest && \
        chmod 755 /opt/venv/bin/pytest; }

# ── what submissions are graded in: no reference ─────────────────────────────────────────────────────────
FROM base AS sandbox
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home --uid 10001 --shell /bin/bash student && mkdir /workspace && chown student /workspace
USER 10001
WORKDIR /workspace
ENTRYPOINT []
CMD ["bash"]

# ── what students get: the same, and the reference ───────────────────────────────────────────────────────
FROM sandbox AS student
USER 0
# The wheel for this Python, of those in dist/.
RUN --mount=type=bind,source=dist,target=/dist \
    pip install --no-cache-dir --no-index --no-deps --find-links=/dist ref
USER 10001
