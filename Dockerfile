# Two images: the stage `student` is for students to work in, the stage `sandbox` is for grading submissions.
#
#   autograder release image [--light] --save         for staff; it can set every ARG below
#   docker build --target sandbox -t a_sandbox:v1 .   for `autograder grade --sandbox docker --image a_sandbox:v1`
#
# BuildKit is needed; set DOCKER_BUILDKIT=1 where it is not the default.
ARG BASE_IMAGE=nvcr.io/nvidia/pytorch:25.12-py3

# ── a compiler, for the C++ extension of Task1; most bases have one ──────────────────────────────────────
FROM ${BASE_IMAGE} AS base
# Root builds the stages; the finished images run as another user.
USER 0
# The base determines the version of g++, and the tag of BASE_IMAGE determines the base.
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
# If the base has torch, that torch stays, since it was built for the base's CUDA. In PIP_CONSTRAINT the base may demand
# versions of its own, so the variable is emptied.
RUN --mount=type=cache,target=/root/.cache/pip \
    export PIP_CONSTRAINT='' PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 && \
    python3 -m venv --system-site-packages /opt/venv && \
    if python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then \
        sed -i '/^torch[=<>~! ]/d' /tmp/requirements.txt; \
    fi && \
    /opt/venv/bin/pip install -r /tmp/requirements.txt
# If the base has pytest, it runs in the base's Python, which does not see the packages that are installed here.
RUN test -x /opt/venv/bin/pytest || { \
        printf '#!/opt/venv/bin/python3\nimport sys, pytest\nsys.exit(pytest.main())\n' > /opt/venv/bin/pytest && \
        chmod 755 /opt/venv/bin/pytest; }

# ── the image for grading submissions, without the reference ─────────────────────────────────────────────
FROM base AS sandbox
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home --uid 10001 --shell /bin/bash student && mkdir /workspace && chown student /workspace
USER 10001
WORKDIR /workspace
ENTRYPOINT []
CMD ["bash"]

# ── the image for students: the same, with the reference ─────────────────────────────────────────────────
FROM sandbox AS student
USER 0
# Of the wheels in dist/, pip installs the one for this Python.
RUN --mount=type=bind,source=dist,target=/dist \
    pip install --no-cache-dir --no-index --no-deps --find-links=/dist ref
USER 10001
