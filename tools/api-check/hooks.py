"""Keeps the fuzzer from sawing off the branch that it sits on, and from asking for an old answer where it means a new one."""

import itertools
import os
import re
import uuid

import schemathesis

OURS = os.environ.get("STORELAB_API_CHECK_TOKEN_ID")
# What the document says of an Idempotency-Key; what is none is sent as it is, to be refused.
KEY = re.compile(r"[!-~]{1,255}")
count = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    keep_our_token(case)
    make_key_new(case)


def keep_our_token(case):
    """All requests carry this token: it is not revoked."""
    parameters = case.path_parameters or {}
    if OURS and case.method.upper() == "DELETE" and "token" in case.path:
        for name, value in parameters.items():
            if str(value) == OURS:
                parameters[name] = str(uuid.uuid4())


def make_key_new(case):
    """A key that was sent before gets the answer from then, of a thing that may have been deleted since: that is what it is for."""
    headers = case.headers or {}
    for name in list(headers):
        key = str(headers[name])
        if name.lower() != "idempotency-key":
            continue
        if KEY.fullmatch(key):
            headers[name] = f"{key[:200]}.{next(count)}"
        elif KEY.fullmatch(key.strip()):
            # Blanks around a header's value are no part of it (RFC 9110, 5.5); what is to be refused has one inside.
            headers[name] = f"{key.strip()[:100]} {key.strip()[:100]}"
