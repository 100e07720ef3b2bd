#!/usr/bin/env bash
# Grade this checkout, or the one in REPO, with the hidden suite.
#
#   bash test_script.sh [REPO] [OPTION...]      options are those of `autograder grade`
#
# The hidden suite and the grader belong to the staff. In a student's repository this says where to look instead.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$here
if [[ $# -gt 0 && $1 != -* ]]; then
    repo=$1
    shift
fi

config=${AUTOGRADER_CONFIG:-$here/autograder.toml}
for autograder in "$here/.venv/bin/autograder" "$(command -v autograder || true)"; do
    if [[ -x $autograder && -f $config ]]; then
        exec "$autograder" grade "$repo" --config "$config" "$@"
    fi
done

cat >&2 <<'MESSAGE'
The hidden suite is not here: it runs when you push. Push to main and read score.md on the branch score-feedback.
Run `pytest test_toy.py` for the visible tests.
Staff: run `make test` once (it installs the grader into .venv), or set AUTOGRADER_CONFIG to your autograder.toml.
MESSAGE
exit 1
