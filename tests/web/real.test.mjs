// The page of a running `blip2 serve` in real Chromium; tests/integration/test_serve_page.py starts this.
//
// BLIP2_URL, BLIP2_KEY   the server; no key: it asks for none
// BLIP2_EXPECTED         JSON {picture (a path), questions, answers (the caption, then those to the
//                        questions), texts, matches (of the texts, as the page writes them)}

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { faults, openPage, shoot, startBrowser } from "./browser.mjs";

const expected = JSON.parse(process.env.BLIP2_EXPECTED);
let browser;
before(async () => { browser = await startBrowser(); });
after(() => browser.close());

const ended = (page, turns) => page.waitForFunction((count) =>
  document.querySelectorAll("#turns > li").length === count && !document.querySelector("#turns .running"), turns);

test("caption, answers and scores are those of the command line", async () => {
  const { page, failures, context } = await openPage(browser, process.env.BLIP2_URL);
  if (process.env.BLIP2_KEY) {
    await page.waitForSelector("#key-dialog[open]");
    await page.fill("#key", process.env.BLIP2_KEY);
    await page.press("#key", "Enter");
  }
  await page.waitForSelector("[data-state=ready]");
  await page.setInputFiles("#file", expected.picture);
  await page.waitForSelector("#chosen:not([hidden])");
  await page.click("#caption");
  await ended(page, 1);
  for (const [index, question] of expected.questions.entries()) {
    await page.fill("#question", question);
    await page.press("#question", "Enter");
    await ended(page, index + 2);
  }
  const answers = await page.locator("#turns .answer").allTextContents();
  assert.deepEqual(answers, expected.answers.map((text) => text.trimStart()));
  await page.click("#tab-compare");
  await page.fill("#texts", expected.texts.join("\n"));
  await page.click("#compare-send");
  await page.waitForSelector("#scores:not([hidden])");
  await page.selectOption("#order", "index");
  assert.deepEqual(await page.locator("#scores .match b").allTextContents(), expected.matches);
  assert.equal(await page.locator(".trouble:visible").count(), 0);
  assert.deepEqual(await faults(page), []);
  await shoot(page, "real");
  assert.deepEqual(failures, []);
  await context.close();
});
