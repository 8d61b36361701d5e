// Opens reports in Chromium as somebody would who got them by mail: from a file, without a network. Fails where a page
// asks for anything, complains in the console, is wider than its window, or where axe-core finds something serious.
//
//   node check.mjs --chromium PROGRAM --screenshots FOLDER REPORT.html…
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const { values: options, positionals: reports } = parseArgs({
  allowPositionals: true,
  options: { chromium: { type: "string" }, screenshots: { type: "string" } },
});
if (!options.chromium || reports.length === 0) {
  console.error("usage: node check.mjs --chromium PROGRAM [--screenshots FOLDER] REPORT.html…");
  process.exit(2);
}
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const GRAVE = new Set(["serious", "critical"]);
// A window on a desk, and one in a hand.
const WIDTHS = [1280, 390];
const SCHEMES = ["light", "dark"];
if (options.screenshots) mkdirSync(options.screenshots, { recursive: true });

const browser = await chromium.launch({ executablePath: options.chromium, args: ["--no-sandbox"] });
const faults = [];
const found = { minor: 0, moderate: 0, serious: 0, critical: 0 };
let views = 0;

for (const report of reports) {
  for (const colorScheme of SCHEMES) {
    for (const width of WIDTHS) await view(report, { colorScheme, width, media: "screen" });
  }
  // As a page of A4 has it.
  await view(report, { colorScheme: "light", width: 690, media: "print" });
}
await browser.close();
for (const fault of faults) console.error(fault);
const rest = Object.entries(found).map(([impact, count]) => `${count} ${impact}`).join(", ");
console.log(`${reports.length} reports, ${views} views: ${faults.length} faults; axe-core: ${rest}`);
process.exit(faults.length === 0 ? 0 : 1);

async function view(report, { colorScheme, width, media }) {
  const name = `${basename(report, ".html")}-${media === "print" ? "print" : `${colorScheme}-${width}`}`;
  const address = pathToFileURL(resolve(report)).href;
  const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, offline: true });
  const page = await context.newPage();
  const fault = (text) => faults.push(`${name}: ${text}`);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) fault(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => fault(`script: ${error.message}`));
  // All that is asked for is the file itself; what is inside of it (data:) is no request.
  await page.route("**/*", (route) => {
    if (route.request().url() === address) return route.continue();
    fault(`asks for ${route.request().url()}`);
    return route.abort();
  });
  await page.emulateMedia({ media, colorScheme });
  await page.goto(address);
  if (media === "screen" && width === WIDTHS[0] && colorScheme === SCHEMES[0]) await move(page);
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
