#!/bin/sh
# Makes .venv-aws with aws-sam-cli, cfn-lint and Lambda's runtime client.
# Without a network there are none: it says so, and succeeds.
set -eu
install() {
    if command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python .venv-aws/bin/python --require-hashes --no-deps -r locks/aws.txt
    else
        .venv-aws/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r locks/aws.txt
    fi
}
if .venv/bin/python -m venv .venv-aws && install; then
    touch .venv-aws/.installed
else
    rm -rf .venv-aws
    echo "The AWS tools could not be installed: what runs on Lambda will not be tested." >&2
fi
