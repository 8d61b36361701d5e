// Opens reports in Chromium as somebody would who got them by mail: from a file, without a network; and the pages of a fresh
// service, /docs and a run's report, where the service alone may be asked. Fails where a page asks for anything else, complains in the
// console, is wider than its window, or where axe-core finds something serious; and where /docs does not send what it says.
//
//   node check.mjs --chromium PROGRAM [--screenshots FOLDER] [--storelab PROGRAM] [REPORT.html…]
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { serve } from "./service.mjs";

const { values: options, positionals: reports } = parseArgs({
  allowPositionals: true,
  options: { chromium: { type: "string" }, screenshots: { type: "string" }, storelab: { type: "string" } },
});
if (!options.chromium || (reports.length === 0 && !options.storelab)) {
  console.error("usage: node check.mjs --chromium PROGRAM [--screenshots FOLDER] [--storelab PROGRAM] [REPORT.html…]");
  process.exit(2);
}
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const GRAVE = new Set(["serious", "critical"]);
// A window on a desk, and one in a hand.
const WIDTHS = [1280, 390];
const SCHEMES = ["light", "dark"];
if (options.screenshots) mkdirSync(options.screenshots, { recursive: true });

const faults = [];
const found = { minor: 0, moderate: 0, serious: 0, critical: 0 };
let views = 0;

const service = options.storelab ? await serve(options.storelab) : { pages: [], stop: () => 0 };
const browser = await chromium.launch({ executablePath: options.chromium, args: ["--no-sandbox"] });
const files = reports.map((report) => ({
  name: basename(report, ".html"),
  address: pathToFileURL(resolve(report)).href,
  offline: true,
}));
const served = service.pages.map((address) => ({ name: `service-${basename(address)}`, address, offline: false }));
const pages = [...files, ...served];
try {
  for (const page of pages) {
    for (const colorScheme of SCHEMES) {
      for (const width of WIDTHS) await view(page, { colorScheme, width, media: "screen" });
    }
    // As a page of A4 has it.
    await view(page, { colorScheme: "light", width: 690, media: "print" });
  }
} finally {
  await browser.close();
  const code = await service.stop();
  if (code !== 0) faults.push(`the service ended with ${code}`);
}
for (const fault of faults) console.error(fault);
const rest = Object.entries(found).map(([impact, count]) => `${count} ${impact}`).join(", ");
console.log(`${files.length} reports, ${served.length} pages of the service, ${views} views: ${faults.length} faults; axe-core: ${rest}`);
process.exit(faults.length === 0 ? 0 : 1);

async function view({ name: called, address, offline }, { colorScheme, width, media }) {
  const name = `${called}-${media === "print" ? "print" : `${colorScheme}-${width}`}`;
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, offline });
  const page = await context.newPage();
  const fault = (text) => faults.push(`${name}: ${text}`);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) fault(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => fault(`script: ${error.message}`));
  // Of a file all that is asked for is the file itself; of the service's pages, the service. What is inside (data:) is no request.
  const { origin } = new URL(address);
  await page.route("**/*", (route) => {
    const asked = route.request().url();
    if (asked === address || (!offline && new URL(asked).origin === origin)) return route.continue();
    fault(`asks for ${asked}`);
    return route.abort();
  });
  await page.emulateMedia({ media, colorScheme });
  const answer = await page.goto(address, { waitUntil: "networkidle" });
  if (!offline && answer.status() !== 200) fault(`answered with ${answer.status()}`);
  if (media === "screen" && width === WIDTHS[0] && colorScheme === SCHEMES[0]) {
    await move(page);
    if (called === "service-docs") await send(page, fault);
  }
  await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  if (media === "screen") {
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (wider > 0) fault(`wider than its window by ${wider} pixels`);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document));
    for (const { id, impact, help, nodes } of violations) {
      found[impact] += nodes.length;
      if (GRAVE.has(impact)) fault(`${impact}: ${help} (${id}), ${nodes.length} times, as ${nodes[0].html.slice(0, 160)}`);
    }
  }
  if (options.screenshots) await page.screenshot({ path: join(options.screenshots, `${name}.png`), fullPage: true });
  views += 1;
  await context.close();
}

// The crosshair follows the pointer, tells values, and goes.
async function move(page) {
  for (const area of await page.locator(".area").all()) {
    await area.scrollIntoViewIfNeeded();
    if (!(await area.isVisible())) continue;
    const box = await area.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    const told = await page.locator(".tip").first().textContent();
    if (!told || /NaN|undefined|Infinity/.test(told)) throw new Error(`the crosshair tells ${told}`);
  }
  await page.mouse.move(0, 0);
  if ((await page.locator(".tip").count()) > 0) throw new Error("the crosshair stays");
}

// A route is found by a word, and what stands in its form is sent: a read, and a change, as their examples have them.
async function send(page, fault) {
  for (const [operation, status] of [["show_liveness", 200], ["create_experiment", 201]]) {
    await page.locator("#find").fill(operation);
    const route = page.locator(`#${operation}`);
    const others = await page.locator("#routes details:visible").count();
    if (others !== 1) fault(`/docs finds ${others} routes for ${operation}`);
    await route.locator("summary").click();
    await route.locator("button[type=submit]").click();
    const told = route.locator("[role=status] strong");
    await told.waitFor();
    const text = await told.textContent();
    if (!text.startsWith(`${status}`)) fault(`/docs sends the example of ${operation} and is answered ${text}`);
  }
  await page.locator("#find").fill("");
}
