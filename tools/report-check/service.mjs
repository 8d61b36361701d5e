// A fresh service on a port of the system's choice and in a folder that is thrown away, with a run in it whose page can be opened.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

// How long it may take to start, and a run to end, on a machine that does other things too.
const PATIENCE_MS = 60_000;

// Some seconds of three operations, so that its charts have lines.
const EXPERIMENT = {
  name: "pages of the service",
  database_type: "sqlite",
  config: { rows: 500, operations: ["insert", "select", "update"], steady_state_duration: 9 },
};

// Starts it and carries a run out. Gives the addresses of its pages, and what ends it.
export async function serve(program) {
  const home = mkdtempSync(join(tmpdir(), "storelab-pages-"));
  const child = spawn(program, ["serve", "--listen", "127.0.0.1:0"], {
    cwd: home,
    env: { ...process.env, STORELAB_HOME: home, STORELAB_STORE: join(home, "results.db") },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  const stop = async () => {
    child.kill("SIGTERM");
    const code = await ended;
    rmSync(home, { recursive: true, force: true });
    return code;
  };
  try {
    const origin = await within("the service starts", address(child, ended));
    const run = await within("the run ends", carriedOut(origin));
    return { pages: [`${origin}/docs`, `${origin}/api/v1/runs/${run}/report`], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

// What it says on stderr once it answers.
function address(child, ended) {
  return new Promise((resolve, reject) => {
    const said = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      const found = /serving (http:\/\/\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
    ended.then((code) => reject(new Error(`the service ended with ${code}: ${said.join("\n")}`)));
  });
}

async function carriedOut(origin) {
  const { id } = await ask(origin, "POST", "/api/v1/experiments", EXPERIMENT);
  const { run_id: run } = await ask(origin, "POST", `/api/v1/experiments/${id}/run`);
  for (;;) {
    const { status, reason } = await ask(origin, "GET", `/api/v1/experiments/${id}`);
    if (status === "completed") return run;
    if (!["queued", "running"].includes(status)) throw new Error(`the run is ${status}: ${reason}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function ask(origin, method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  const answer = await fetch(origin + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
