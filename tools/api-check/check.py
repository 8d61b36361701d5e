"""Asks a fresh service all that its OpenAPI document allows, and much that it does not, with schemathesis.

    check.py --storelab PROGRAM --schemathesis PROGRAM [--cases 1000] [--seed 1] [--report FOLDER]

The service runs in a network namespace of its own where this is root: what the requests may talk it into reaching is not
there. It is fresh, has small caps, and an administrator's token, which all requests carry. Fails where a check of
schemathesis does, where fewer cases were made than asked for, where the service panics, and where it does not end with
status 0 within ten seconds of SIGTERM.
"""

import argparse
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Caps under which whatever is generated ends soon: load is not what is checked here.
CAPS = ["--runs-max=1", "--queue-max=256", "--sessions-max=4", "--rate-max=1000", "--seconds-max=2", "--rows-max=1000"]
READY_SECONDS = 30
# What safety promises: load stops within a second, and the service is gone within ten.
END_SECONDS = 10
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
# Runs with other seeds until there are enough cases; more of them would find nothing that these did not.
ROUNDS_MAX = 8


def main():
    options = parse()
    if options.inside or not in_namespace(options):
        sys.exit(check(options))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storelab", required=True, type=Path)
    parser.add_argument("--schemathesis", required=True, type=Path)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=Path("api-check"))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def in_namespace(options):
    """Does all of it again inside of a network namespace, and ends; returns where there can be none."""
    name = f"storelab-api-{os.getpid()}"
    ip = shutil.which("ip") or "/usr/sbin/ip"
    if os.geteuid() != 0 or not os.access(ip, os.X_OK):
        print("skipped: a network namespace, which takes root and iproute2; on this host's loopback instead", file=sys.stderr)
        return False
    if subprocess.run([ip, "netns", "add", name], stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: a network namespace, which the kernel does not grant; on this host's loopback instead", file=sys.stderr)
        return False
    try:
        subprocess.run([ip, "-n", name, "link", "set", "lo", "up"], check=True)
        again = subprocess.run([ip, "netns", "exec", name, sys.executable, __file__, *sys.argv[1:], "--inside"])
    finally:
        subprocess.run([ip, "netns", "delete", name])
    sys.exit(again.returncode)


def check(options):
    options.report.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="storelab-api-") as home:
        port = 8000 if options.inside else free_port()
        service = Service(options.storelab.resolve(), Path(home), port, options.report / "service.log")
        try:
            service.await_ready()
            faults = fuzz(options, service)
            faults += service.faults()
        finally:
            ended = service.end()
        faults += ended
    for fault in faults:
        print(f"fault: {fault}", file=sys.stderr)
    print(f"{len(faults)} faults; what was asked and answered is in {options.report}")
    return 1 if faults else 0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Service:
    """A `storelab serve` with nothing of this user's settings, results or servers."""

    def __init__(self, program, home, port, log):
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.environment = {"PATH": os.environ["PATH"], "STORELAB_HOME": str(home), "LOG_LEVEL": "INFO", "HOME": str(home)}
        self.program, self.home = program, home
        self.token, self.token_id = self.make_token()
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [program, "--store", home / "results.db", "serve", "--listen", f"127.0.0.1:{port}", *CAPS],
                env=self.environment, cwd=home, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )

    def make_token(self):
        """An administrator's token, and its id."""
        made = subprocess.run(
            [self.program, "--store", self.home / "results.db", "token", "create", "--role", "admin", "--json", "--name", "api-check"],
            env=self.environment, cwd=self.home, capture_output=True, text=True, check=True,
        )
        token = json.loads(made.stdout)
        return token["token"], str(token["id"])

    def await_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self.get("/health/ready").status == 200:
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        raise SystemExit(f"the service is not ready after {READY_SECONDS} s:\n{self.log.read_text(errors='replace')}")

    def get(self, path):
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        return urllib.request.urlopen(request, timeout=10)

    def faults(self):
        faults = []
        if self.process.poll() is not None:
            faults.append(f"the service ended with {self.process.returncode}")
        panics = [line for line in self.log.read_text(errors="replace").splitlines() if "panicked at" in line]
        return faults + [f"panic: {line}" for line in panics]

    def end(self):
        if self.process.poll() is not None:
            return []
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return [f"the service was still there {END_SECONDS} s after SIGTERM"]
        return [] if status == 0 else [f"the service ended with {status} after SIGTERM"]


def fuzz(options, service):
    document = json.load(service.get("/openapi.json"))
    (options.report / "openapi.json").write_text(json.dumps(document, indent=2))
    operations = [
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item if method in METHODS
    ]
    faults, made = [], 0
    for number in range(ROUNDS_MAX):
        left = options.cases - made
        if left <= 0:
            break
        # Each of the phases makes so many; examples and coverage come on top, so that one round is mostly enough.
        examples = max(3, math.ceil(left / len(operations) / 1.5))
        status, cases = round_of(options, service, options.seed + number, examples)
        made += cases
        if status != 0:
            faults.append(f"schemathesis ends with {status} for seed {options.seed + number}")
            break
        if cases == 0:
            break
    print(f"{made} cases over {len(operations)} operations, from seed {options.seed} on")
    if made < options.cases and not faults:
        faults.append(f"{made} cases were made, {options.cases} were asked for")
    return faults


def round_of(options, service, seed, examples):
    """One run of schemathesis: its status, and how many cases it made."""
    command = [
        options.schemathesis, "--config-file", HERE / "schemathesis.toml", "--no-color", "run", f"{service.url}/openapi.json",
        "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(examples),
        "--seed", str(seed), "--header", f"Authorization: Bearer {service.token}",
        "--report", "junit", "--report-junit-path", options.report / f"junit-{seed}.xml",
    ]
    environment = {
        **os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE), "STORELAB_API_CHECK_TOKEN_ID": service.token_id,
    }
    run = subprocess.Popen(command, env=environment, cwd=service.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    generated = 0
    with open(options.report / f"output-{seed}.txt", "w") as kept:
        for line in run.stdout:
            # A token is a secret even here, where it dies with its service.
            line = line.replace(service.token, "***")
            kept.write(line)
            print(line, end="")
            if found := re.search(r"([\d,]+) generated", line):
                generated = int(found[1].replace(",", ""))
    return run.wait(), generated


main()
