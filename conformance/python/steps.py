"""Runs the steps of a walk, and prints how each went in the way that clients_test.go reads."""

import contextlib
import os
import sys
import time
import traceback

NAME = os.environ["DEFERD_WALK_NAME"]  # no other walk on this server has names that begin so
IMAGE = os.environ["DEFERD_WALK_IMAGE"]
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/walk"
PATIENCE = 60  # seconds


class Absent(Exception):
    """Says why the client has no such thing."""


def run(client, version, steps):
    """Runs the steps, a dict by name. What a step returns is a remark on how it went."""
    print("client", client, version, flush=True)
    for name, step in steps.items():
        started = time.monotonic()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # some clients print what they like
                remark = step() or ""
            print(f"step {name} ok {time.monotonic() - started:.2f} {remark}".rstrip(), flush=True)
        except Absent as e:
            print(f"step {name} absent {line(e)}", flush=True)
        except Exception as e:
            traceback.print_exc()
            print(f"step {name} failed {type(e).__name__}: {line(e)}", flush=True)
            sys.exit(1)


def line(e):
    return " ".join(str(e).split())


def expect(got, want):
    if got != want:
        raise AssertionError(f"got {short(got)}, want {short(want)}")


def expect_in(part, text):
    if part not in text:
        raise AssertionError(f"got {short(text)}, want {part!r} in it")


def short(value):
    text = repr(value)
    return text if len(text) < 400 else text[:400] + "…"


def until(what, ask):
    """Asks until there is an answer that is not None."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = ask()
        if answer is not None:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"there is no {what} after {PATIENCE} s")
