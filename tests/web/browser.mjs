// Chromium for the tests of the page: where it is, how a page of the service is opened.
//
// BLIP2_BROWSER   folder with playwright-core, axe-core and chromium (tools/setup.sh unpacks them)
// BLIP2_PAGE      folder with index.html and policy.txt, as the build leaves them
// BLIP2_SHOTS     a folder for pictures of every state

import fs from "node:fs";
import path from "node:path";
import { deflateSync } from "node:zlib";
import { startMock } from "./mock_server.mjs";

const folder = (name) => {
  if (!process.env[name]) throw new Error(`${name} names no folder: CTest sets it`);
  return path.resolve(process.env[name]);
};
const browserFolder = folder("BLIP2_BROWSER");
const { chromium } = await import(path.join(browserFolder, "playwright-core", "index.mjs"));
const axeSource = fs.readFileSync(path.join(browserFolder, "axe-core", "axe.min.js"), "utf8");

const LONG = 120000;  // milliseconds that anything may take, whatever else the machine is doing

export function startBrowser() {
  const home = path.join(browserFolder, "chromium");
  return chromium.launch({
    timeout: LONG,
    executablePath: path.join(home, "chromium"),
    args: ["--no-sandbox"],
    env: { ...process.env, FONTCONFIG_FILE: path.join(home, "fonts.conf"),
      LD_LIBRARY_PATH: [path.join(home, "lib"), process.env.LD_LIBRARY_PATH].filter(Boolean).join(":") },
  });
}

export function startPageMock() {
  const read = (name) => fs.readFileSync(path.join(folder("BLIP2_PAGE"), name), "utf8");
  return startMock(read("index.html"), read("policy.txt"));
}

// Opens the service's page in a new profile. `failures` gathers what may never happen: errors of the
// script, and what its Content-Security-Policy had to refuse.
export async function openPage(browser, url, options = {}, before = async () => {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, locale: "en-GB", ...options });
  context.setDefaultTimeout(LONG);
  await context.addInitScript(axeSource);
  const page = await context.newPage();
  page.on("filechooser", () => {});  // file choosers are caught from the start
  const failures = [];
  page.on("pageerror", (error) => failures.push(`script: ${error.message}`));
  page.on("console", (message) => {
    if (/Content.Security.Policy|Trusted/i.test(message.text())) failures.push(message.text());
  });
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (!["blob:", "data:"].includes(protocol) && origin !== new URL(url).origin) failures.push(`foreign: ${request.url()}`);
  });
  await before(page);
  await page.goto(url);
  return { page, context, failures };
}

// What axe finds wrong with the page as it stands, one line each.
export async function faults(page) {
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 120)}: ${node.failureSummary}`));
}

// Takes a picture of a state for people to look at, where BLIP2_SHOTS asks for them.
export async function shoot(page, name) {
  if (!process.env.BLIP2_SHOTS) return;
  fs.mkdirSync(process.env.BLIP2_SHOTS, { recursive: true });
  await page.screenshot({ path: path.join(process.env.BLIP2_SHOTS, `${name}.png`), fullPage: true });
}

// ---- pictures ----

const crcTable = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k += 1) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function chunk(kind, data) {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  let crc = 0xffffffff;
  for (const byte of body) crc = crcTable[(crc ^ byte) & 255] ^ (crc >>> 8);
  const length = Buffer.alloc(4);
  const sum = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE((crc ^ 0xffffffff) >>> 0);
  return Buffer.concat([length, body, sum]);
}

// A PNG file: a disc of `colour` on white, as the tests of the program draw it.
export function png(width = 64, height = 64, colour = [220, 30, 30]) {
  const rows = Buffer.alloc(height * (1 + 3 * width), 255);
  const radius = Math.min(width, height) * 0.28;
  for (let y = 0; y < height; y += 1) {
    rows[y * (1 + 3 * width)] = 0;
    for (let x = 0; x < width; x += 1) {
      if (Math.hypot(x - width / 2, y - height / 2) < radius) rows.set(colour, y * (1 + 3 * width) + 1 + 3 * x);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const parts = [chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))];
  return Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), ...parts]);
}

export const file = (name, buffer, mimeType = "image/png") => ({ name, mimeType, buffer });
