// The page of `blip2 serve` in real Chromium, against the mock.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { faults, file, openPage, png, shoot, startBrowser, startPageMock } from "./browser.mjs";
import { usual } from "./mock_server.mjs";

let browser, mock, open = [];
before(async () => {
  browser = await startBrowser();
  mock = await startPageMock();
});
after(async () => {
  await browser.close();
  await mock.close();
});
beforeEach(() => {
  mock.behaviour = usual();
  mock.requests.length = mock.stopped.length = 0;
});
afterEach(async () => {
  const failures = open.flatMap((opened) => opened.failures);
  await Promise.all(open.map(({ context }) => context.close()));
  open = [];
  assert.deepEqual(failures, []);
});

// The page with the model ready, and with a picture if one is given.
async function ready(options = {}, picture = null, prepare = undefined) {
  const opened = await openPage(browser, mock.url, options, prepare);
  open.push(opened);
  const { page } = opened;
  await page.waitForSelector("[data-state=ready]");
  if (picture) await choose(page, picture);
  return page;
}

async function choose(page, picture) {
  await page.setInputFiles("#file", picture);
  await page.waitForSelector(`#chosen:not([hidden]) >> text=${picture.name}`);
}

const disc = file("disc.png", png());
const answers = (page) => page.locator("#turns .answer").allTextContents();
const ended = (page, turns) => page.waitForFunction((count) =>
  document.querySelectorAll("#turns > li").length >= count && !document.querySelector("#turns .running"), turns);

async function askFor(page, question, turns) {
  await page.fill("#question", question);
  await page.press("#question", "Enter");
  await ended(page, turns);
}

// Gathers what the page tells a screen reader: heard(), and hear(times) waits until it is so much.
async function listen(page) {
  await page.evaluate(() => {
    globalThis.heard = [];
    new MutationObserver(() => {
      const text = document.getElementById("announcer").textContent;
      if (text) globalThis.heard.push(text);
    }).observe(document.getElementById("announcer"), { childList: true });
  });
  const hear = (times) => page.waitForFunction((count) => globalThis.heard.length >= count, times);
  return { heard: () => page.evaluate(() => globalThis.heard), hear };
}

describe("captions and questions", () => {
  test("a caption is asked for with the file's own bytes", async () => {
    const page = await ready({}, disc);
    await page.click("#caption");
    await ended(page, 1);
    assert.deepEqual(await answers(page), ["a red circle on white"]);
    const [{ path, body }] = mock.requests;
    assert.equal(path, "/v1/chat/completions");
    assert.equal(body.model, "demo-model");
    assert.equal(body.stream, true);
    assert.equal(body.max_tokens, undefined);
    assert.equal(body.num_beams, 1);
    assert.equal(body.messages.length, 1);
    const [part, ...rest] = body.messages[0].content;
    assert.deepEqual(rest, []);
    assert.equal(part.image_url.url, `data:image/png;base64,${disc.buffer.toString("base64")}`);
    assert.match(await page.textContent("#turns .facts"), /^5 tokens · \d+ tokens\/s/);
    assert.match(await page.textContent("#speed"), /^\d+ tokens\/s$/);
    assert.match(await page.getAttribute("#preview", "alt"), /Caption: a red circle on white$/);
  });

  test("a question carries the earlier ones, and no caption", async () => {
    const page = await ready({}, disc);
    await page.click("#caption");
    await ended(page, 1);
    mock.behaviour.words = [" red"];
    await askFor(page, "what color is it?", 2);
    await askFor(page, "are you sure?", 3);
    const { messages } = mock.requests.at(-1).body;
    assert.deepEqual(messages.map(({ role }) => role), ["user", "assistant", "user"]);
    assert.equal(messages[0].content[0].type, "image_url");
    assert.deepEqual(messages[0].content[1], { type: "text", text: "what color is it?" });
    assert.equal(messages[1].content, "red");
    assert.equal(messages[2].content, "are you sure?");
  });

  test("a question stands alone where the reader wants that, and answers have the length asked for", async () => {
    const page = await ready({}, disc);
    await page.click("summary");
    await page.uncheck("#remember");
    await page.fill("#longest", "7");
    await page.fill("#beams", "3");
    mock.behaviour.finish = "length";
    await askFor(page, "what color is it?", 1);
    await askFor(page, "what shape is it?", 2);
    const { messages, max_tokens, num_beams } = mock.requests.at(-1).body;
    assert.equal(messages.length, 1);
    assert.equal(messages[0].content[1].text, "what shape is it?");
    assert.equal(max_tokens, 7);
    assert.equal(num_beams, 3);
    assert.match(await page.locator("#turns .facts").last().textContent(), /cut off/);
  });

  test("words are shown as they come, and a screen reader hears the answer once", async () => {
    const page = await ready();
    const { heard, hear } = await listen(page);
    await choose(page, disc);
    await hear(1);
    Object.assign(mock.behaviour, { words: " one two three four five six seven eight".split(/(?= )/), hold: 2 });
    await page.click("#caption");
    await page.waitForFunction(() => document.querySelector(".answer")?.textContent === "one two");
    await hear(2);
    mock.goOn();
    await ended(page, 1);
    await hear(3);
    await page.waitForTimeout(200);  // in which nothing more may be said
    assert.deepEqual(await heard(), ["The picture disc.png is chosen.", "The model writes a caption.", "one two three four five six seven eight"]);
    assert.equal(await page.locator("#turns[aria-live], #turns [aria-live], #turns [role=status]").count(), 0);
  });

  for (const [how, stop] of [["the button", (page) => page.click("#stop")], ["Escape", (page) => page.keyboard.press("Escape")]]) {
    test(`${how} stops an answer; the server is told, the words stay`, async () => {
      const page = await ready({}, disc);
      Object.assign(mock.behaviour, { words: Array(9).fill(" word"), hold: 2 });
      await page.click("#caption");
      await page.waitForFunction(() => document.querySelector(".answer")?.textContent.includes("word word"));
      await stop(page);
      await ended(page, 1);
      assert.deepEqual(await answers(page), ["word word"]);
      assert.match(await page.textContent("#turns .facts"), /stopped/);
      for (let tries = 0; !mock.stopped.length && tries < 1000; tries += 1) await page.waitForTimeout(50);
      assert.equal(mock.stopped.length, 1);
      assert.ok(await page.isVisible("#send"));
    });
  }

  test("a stop before the first word leaves nothing", async () => {
    const page = await ready({}, disc);
    Object.assign(mock.behaviour, { words: [" late"], hold: 0 });
    await page.click("#caption");
    await page.waitForSelector("#stop:not([hidden])");
    await page.click("#stop");
    await page.waitForFunction(() => !document.querySelector("#turns > li"));
  });

  test("another picture ends the answer about the one before", async () => {
    const page = await ready({}, disc);
    Object.assign(mock.behaviour, { words: Array(9).fill(" word"), hold: 1 });
    await page.click("#caption");
    await page.waitForFunction(() => document.querySelector(".answer")?.textContent.includes("word"));
    await choose(page, file("other.png", png(48, 48, [30, 60, 220])));
    await page.waitForSelector("#send:not([hidden])");
    assert.deepEqual(await answers(page), []);
    mock.behaviour = usual();
    await page.click("#caption");
    await ended(page, 1);
    assert.deepEqual(await answers(page), ["a red circle on white"]);
  });

  test("what the model says is text, never markup", async () => {
    const evil = '<img src=x onerror="globalThis.hit=1"><script>globalThis.hit=1</script><b>bold</b>';
    mock.behaviour.words = [" <img src=x onerror=\"globalThis.hit=1\">", "<script>globalThis.hit=1</script>", "<b>bold</b>"];
    const page = await ready({}, file('<img src=x onerror="globalThis.hit=1">.png', png()));
    await askFor(page, evil, 1);
    assert.deepEqual(await answers(page), [evil]);
    assert.equal(await page.locator(".asked").textContent(), evil);
    mock.behaviour.fail = { status: 500, body: { error: { message: evil } } };
    await askFor(page, "again?", 2);
    await page.click("#tab-compare");
    await page.fill("#texts", evil);
    await page.click("#compare-send");
    await page.waitForSelector("#scores .text");
    await page.waitForSelector(".cards li");
    const foreign = "main script, main b:not(.bar b), main img:not(#preview, .open img)";
    assert.equal(await page.locator(foreign).count(), 0);
    assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  });
});

describe("pictures", () => {
  test("a picture is dropped", async () => {
    const page = await ready();
    const transfer = await page.evaluateHandle((bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
      return data;
    }, [...disc.buffer]);
    await page.dispatchEvent("body", "dragover", { dataTransfer: transfer });
    assert.ok(await page.isVisible("#veil"));
    await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
    await page.waitForSelector("#chosen:not([hidden]) >> text=dropped.png");
    assert.ok(await page.isHidden("#veil"));
  });

  test("a picture is pasted", async () => {
    const page = await ready();
    await page.evaluate((bytes) => {
      const clipboardData = new DataTransfer();
      clipboardData.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    }, [...disc.buffer]);
    await page.waitForSelector("#chosen:not([hidden]) >> text=pasted picture");
  });

  test("a picture is chosen by its button, a photo taken on a device of touch", async () => {
    const page = await ready();
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.click("#choose")]);
    await chooser.setFiles(disc);
    await page.waitForSelector("#chosen:not([hidden])");
    assert.ok(await page.isHidden("#take-other"));
    const phone = await ready({ hasTouch: true, isMobile: true, viewport: { width: 390, height: 800 } });
    assert.equal(await phone.getAttribute("#camera", "capture"), "environment");
    const [camera] = await Promise.all([phone.waitForEvent("filechooser"), phone.tap("#take")]);
    await camera.setFiles(file("photo.png", png()));
    await phone.waitForSelector("#chosen:not([hidden])");
  });

  const refused = [
    ["a format that the server does not read", file("moving.gif", Buffer.from("GIF89a0123456789"), "image/gif"), /GIF picture.*JPEG, PNG and WebP/],
    ["no picture", file("notes.txt", Buffer.from("hello, world"), "text/plain"), /not a picture.*JPEG, PNG and WebP/],
    ["too many bytes", file("large.png", Buffer.concat([png(), Buffer.alloc(2_000_001)])), /has 2 MB.*up to 2 MB/],
    ["too many pixels", file("wide.png", png(2500, 2000)), /2500 × 2000 pixels, 5 megapixels.*up to 4 megapixels/],
  ];
  for (const [what, picture, words] of refused) {
    test(`${what}: refused in words, without a request`, async () => {
      const page = await ready();
      await page.setInputFiles("#file", picture);
      await page.waitForSelector("#picture-trouble:not([hidden])");
      assert.match(await page.textContent("#picture-trouble"), words);
      assert.equal(await page.getAttribute("#picture-trouble", "role"), "alert");
      assert.ok(await page.isHidden("#chosen"));
      assert.deepEqual(mock.requests, []);
    });
  }

  test("what the browser cannot show goes to the server all the same", async () => {
    const page = await ready({}, file("broken.png", Buffer.concat([disc.buffer.subarray(0, 8), Buffer.alloc(60, 7)])));
    assert.ok(await page.isVisible("#no-preview"));
    mock.behaviour.fail = { status: 400, body: { error: { message: "The picture ends within its data." } } };
    await page.click("#caption");
    await page.waitForSelector("#turns .trouble");
    assert.match(await page.textContent("#turns .trouble"), /refused this request.*The picture ends within its data/);
  });
});

describe("texts compared", () => {
  test("bars for contrast and match, in three orders", async () => {
    const page = await ready({}, disc);
    await page.click("#tab-compare");
    await page.fill("#texts", "a square\n\n  a red circle  \na cat");
    await page.click("#compare-send");
    await page.waitForSelector("#scores:not([hidden])");
    const { path, body } = mock.requests[0];
    assert.equal(path, "/v1/score");
    assert.deepEqual(body.text_2, ["a square", "a red circle", "a cat"]);
    assert.equal(body.text_1.content[0].image_url.url, `data:image/png;base64,${disc.buffer.toString("base64")}`);
    const texts = () => page.locator("#scores .text").allTextContents();
    assert.deepEqual(await texts(), ["a red circle", "a square", "a cat"]);
    assert.deepEqual(await page.locator("#scores .contrast b").allTextContents(), ["0.614", "0.200", "−0.300"]);
    assert.deepEqual(await page.locator("#scores .match b").allTextContents(), ["93.1 %", "4.2 %", "12.6 %"]);
    await page.waitForFunction(() => [...document.querySelectorAll("#scores .contrast i")].map((bar) =>
      Math.round(100 * parseFloat(getComputedStyle(bar, "::before").width) / bar.clientWidth)).join() === "61,20,0");
    await page.selectOption("#order", "itm");
    assert.deepEqual(await texts(), ["a red circle", "a cat", "a square"]);
    await page.selectOption("#order", "index");
    assert.deepEqual(await texts(), ["a square", "a red circle", "a cat"]);
  });

  test("no text is an error in words, a refusal can be tried again", async () => {
    const page = await ready({}, disc);
    await page.click("#tab-compare");
    await page.fill("#texts", " \n ");
    await page.click("#compare-send");
    assert.match(await page.textContent("#compare-trouble"), /Write at least one text/);
    mock.behaviour.fail = { status: 413, body: { error: { message: "At most 64 texts." } } };
    await page.fill("#texts", "a cat");
    await page.click("#compare-send");
    await page.waitForSelector("#compare-trouble >> text=At most 64 texts");
    await page.click("#compare-trouble button");
    await page.waitForSelector("#scores:not([hidden])");
    assert.ok(await page.isHidden("#compare-trouble"));
  });

  test("a server that tells one score at a time is asked for both", async () => {
    const page = await ready({}, disc);
    mock.behaviour.oneScore = true;
    await page.click("#tab-compare");
    await page.fill("#texts", "a square\na red circle");
    await page.click("#compare-send");
    await page.waitForSelector("#scores:not([hidden])");
    assert.deepEqual(mock.requests.map(({ body }) => body.score_by), [undefined, "itc"]);
    assert.deepEqual(await page.locator("#scores b").allTextContents(), ["0.614", "93.1 %", "0.200", "4.2 %"]);
  });

  test("a model that scores nothing has no such tab", async () => {
    const architecture = { input_modalities: ["text", "image"], output_modalities: ["text"] };
    mock.behaviour.model = { ...mock.behaviour.model, architecture, capabilities: undefined };
    const page = await ready({}, disc);
    assert.ok(await page.isHidden("#tab-compare"));
    assert.match(await page.textContent("#limits"), /and writes at most 256 tokens\.$/);
  });

  test("a model that only compares says so, and has no place for questions", async () => {
    const { max_tokens, max_n, ...limits } = mock.behaviour.model.limits;
    mock.behaviour.model = { ...mock.behaviour.model, limits, capabilities: ["embedding", "score"] };
    const page = await ready();
    assert.equal(await page.textContent("#promise"), "Then the model tells which text fits.");
    assert.match(await page.textContent("#limits"), /compares them with texts\. It has no language model, so it writes no captions/);
    await choose(page, disc);
    assert.ok(await page.isHidden("#tab-ask"));
    assert.ok(await page.isHidden("#question"));
    await page.waitForFunction(() => document.activeElement.id === "texts");
    await shoot(page, "light-compares-only");
    assert.deepEqual(await faults(page), []);
    await page.fill("#texts", "a red circle");
    await page.click("#compare-send");
    await page.waitForSelector("#scores:not([hidden])");
  });
});

describe("failures in words", () => {
  const cases = [
    [413, "large", {}, /larger than this server takes/],
    [400, "bad", {}, /refused this request/],
    [500, "broken", {}, /failed to answer/],
    [503, "draining", {}, /takes no requests at the moment/],
    [429, "full", { "retry-after": "5" }, /busy with other requests/],
  ];
  for (const [status, said, headers, words] of cases) {
    test(`${status}, and another try`, async () => {
      const page = await ready({}, disc);
      mock.behaviour.fail = { status, headers, body: { error: { message: said, type: "t", param: null, code: null } } };
      await page.click("#caption");
      await page.waitForSelector("#turns .trouble[role=alert]");
      assert.match(await page.textContent("#turns .trouble"), words);
      assert.match(await page.textContent("#turns .trouble"), new RegExp(`The server says: ${said}`));
      if (status === 429) await page.waitForSelector("#turns .trouble button:disabled >> text=/^Try again in [1-5] s$/");
      await page.click("#turns .trouble button >> text=/^Try again$/");
      await ended(page, 1);
      assert.deepEqual(await answers(page), ["a red circle on white"]);
      assert.equal(await page.locator(".trouble:visible").count(), 0);
    });
  }

  test("a proxy's page instead of JSON", async () => {
    const page = await ready({}, disc);
    mock.behaviour.fail = { status: 502, body: "<html><h1>502 Bad Gateway</h1></html>" };
    await page.click("#caption");
    await page.waitForSelector("#turns .trouble");
    assert.match(await page.textContent("#turns .trouble"), /^The server behind this address does not answer\.Try again$/);
  });

  test("a connection lost within an answer keeps what had come", async () => {
    const page = await ready({}, disc);
    mock.behaviour.cut = 3;
    await page.click("#caption");
    await page.waitForSelector("#turns .trouble");
    assert.match(await page.textContent("#turns .trouble"), /connection.*lost/i);
    assert.deepEqual(await answers(page), ["a red circle"]);
  });

  test("a server that is gone, and back", async () => {
    const page = await ready({}, disc);
    await mock.close();
    await page.click("#caption");
    await page.waitForSelector("[data-state=lost]");
    assert.match(await page.textContent("#turns .trouble"), /connection to the server was lost/);
    assert.match(await page.textContent("#banner-text"), /does not answer/);
    await mock.open();
    await page.waitForSelector("[data-state=ready]");
    assert.ok(await page.isHidden("#banner"));
  });

  test("a server that is being stopped", async () => {
    mock.behaviour.draining = true;
    const opened = await openPage(browser, mock.url);
    open.push(opened);
    await opened.page.waitForSelector("[data-state=stopping]");
    assert.match(await opened.page.textContent("#banner-text"), /being stopped/);
    mock.behaviour.draining = false;
    await opened.page.waitForSelector("[data-state=ready]");
  });

  test("a model that loads: the share, and a question that waits", async () => {
    mock.behaviour.loading = 0.4;
    const opened = await openPage(browser, mock.url);
    open.push(opened);
    const { page } = opened;
    await page.waitForSelector("[data-state=loading]");
    assert.equal(await page.textContent("#state-text"), "loading 40 %");
    assert.equal(await page.getAttribute("#banner-progress", "value"), "0.4");
    await choose(page, disc);
    await page.click("#caption");
    await page.waitForSelector("#turns .facts >> text=Waiting for the server");
    await shoot(page, "light-loading");
    assert.deepEqual(await faults(page), []);
    mock.behaviour.loading = null;
    await ended(page, 1);
    assert.deepEqual(await answers(page), ["a red circle on white"]);
  });
});

describe("API key", () => {
  const openLocked = async () => {
    mock.behaviour.key = "sesame";
    const opened = await openPage(browser, mock.url);
    open.push(opened);
    await opened.page.waitForSelector("#key-dialog[open]");
    return opened.page;
  };

  test("asked for, refused, asked again, kept by the tab alone, forgotten", async () => {
    const page = await openLocked();
    assert.match(await page.textContent("#key-text"), /asks for an API key/);
    assert.equal(await page.evaluate(() => document.activeElement.id), "key");
    assert.deepEqual(await faults(page), []);
    await page.fill("#key", "wrong");
    await page.press("#key", "Enter");
    await page.waitForSelector("#key-text >> text=did not accept");
    await shoot(page, "light-key");
    await page.fill("#key", "sesame");
    await page.press("#key", "Enter");
    await page.waitForSelector("[data-state=ready]");
    const kept = await page.evaluate(() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie]);
    assert.deepEqual(kept, ['{"blip2-key":"sesame"}', "{}", ""]);
    await page.reload();
    await page.waitForSelector("[data-state=ready]");
    await choose(page, disc);
    await page.click("#forget-key");
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await page.click("#caption");
    await page.waitForSelector("#key-dialog[open]");
    await page.fill("#key", "sesame");
    await page.press("#key", "Enter");
    await ended(page, 1);
    assert.deepEqual(await answers(page), ["a red circle on white"]);
  });

  test("put away, then given", async () => {
    const page = await openLocked();
    await page.keyboard.press("Escape");
    await page.waitForSelector("[data-state=key]");
    assert.match(await page.textContent("#banner-text"), /only with an API key/);
    assert.deepEqual(await faults(page), []);
    await page.click("#banner-key");
    await page.fill("#key", "sesame");
    await page.click("text=Use this key");
    await page.waitForSelector("[data-state=ready]");
  });
});

describe("history", () => {
  test("kept over a reload with picture, turns and scores; removed one by one and all at once", async () => {
    const page = await ready({}, disc);
    await page.click("#caption");
    await ended(page, 1);
    await page.click("#tab-compare");
    await page.fill("#texts", "a red circle\na cat");
    await page.click("#compare-send");
    await page.waitForSelector("#scores:not([hidden])");
    await choose(page, file("second.png", png(48, 48, [30, 60, 220])));
    await page.click("#tab-ask");
    mock.behaviour.words = [" a blue circle"];
    await page.click("#caption");
    await page.waitForFunction(() => document.querySelectorAll(".cards li").length === 2);
    await page.reload();
    await page.waitForFunction(() => document.querySelectorAll(".cards li").length === 2);
    assert.deepEqual(await page.locator(".cards .line").allTextContents(), [" a blue circle", " a red circle on white"]);
    await page.waitForFunction(() => [...document.querySelectorAll(".cards img")].every((image) => image.naturalWidth > 0));
    await page.click(".cards li:nth-child(2) .open");
    await page.waitForSelector("#chosen:not([hidden]) >> text=disc.png");
    assert.deepEqual(await answers(page), ["a red circle on white"]);
    assert.equal(await page.inputValue("#texts"), "a red circle\na cat");
    assert.equal(await page.locator("#scores .text").count(), 2);
    mock.behaviour.words = [" red"];
    await page.waitForSelector("[data-state=ready]");
    await askFor(page, "what color is it?", 2);
    assert.equal(mock.requests.at(-1).body.messages[0].content[0].image_url.url, `data:image/png;base64,${disc.buffer.toString("base64")}`);
    await page.click(".cards li:nth-child(2) .away");
    await page.waitForFunction(() => document.querySelectorAll(".cards li").length === 1);
    await page.click("#clear");
    assert.deepEqual(await faults(page), []);
    await page.click("#clear-dialog >> text=Keep");
    assert.equal(await page.locator(".cards li").count(), 1);
    await page.click("#clear");
    await page.click("#clear-dialog button.main");
    await page.waitForSelector("#history", { state: "hidden" });
    await page.reload();
    await page.waitForSelector("[data-state=ready]");
    assert.equal(await page.locator(".cards li").count(), 0);
  });

  test("in memory where the browser stores nothing", async () => {
    const page = await ready({}, disc, (bare) => bare.addInitScript(() => {
      for (const name of ["indexedDB", "localStorage", "sessionStorage"]) {
        Object.defineProperty(globalThis, name, { get() { throw new DOMException("no storage", "SecurityError"); } });
      }
    }));
    await page.click("#caption");
    await ended(page, 1);
    await page.waitForSelector(".cards li");
    assert.match(await page.textContent("#history-note"), /gone when the page is closed/);
    await page.click("#remove");
    await page.click(".cards .open");
    await page.waitForSelector("#chosen:not([hidden])");
    assert.deepEqual(await answers(page), ["a red circle on white"]);
  });
});

describe("everybody can use it", () => {
  test("by keyboard alone", async () => {
    const page = await ready();
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className || document.activeElement.tagName);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "skip");
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "choose");
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
    await chooser.setFiles(disc);
    await page.waitForFunction(() => document.activeElement.id === "caption");
    mock.behaviour.hold = 1;
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement.id === "stop" && document.querySelector(".answer")?.textContent);
    mock.goOn();
    mock.behaviour.hold = null;
    await page.waitForFunction(() => document.activeElement.id === "question");
    await page.keyboard.type("first line");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("second line");
    await page.keyboard.press("Enter");
    await ended(page, 2);
    assert.equal(mock.requests.at(-1).body.messages.at(-1).content.at(-1).text, "first line\nsecond line");
    await page.focus("#tab-ask");
    await page.keyboard.press("ArrowRight");
    assert.equal(await focused(), "tab-compare");
    assert.equal(await page.getAttribute("#tab-compare", "aria-selected"), "true");
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "texts");
    await page.keyboard.type("a red circle");
    await page.keyboard.press("Control+Enter");
    await page.waitForSelector("#scores:not([hidden])");
    const reached = new Set();
    for (let step = 0; step < 40; step += 1) {
      await page.keyboard.press("Tab");
      reached.add(await focused());
    }
    for (const id of ["compare-send", "order", "choose-other", "remove", "clear", "open", "tab-compare"]) assert.ok(reached.has(id), `${id} of ${[...reached]}`);
    for (const id of ["file", "camera", "question"]) assert.ok(!reached.has(id), id);
  });

  test("axe finds what is wrong", async () => {
    const page = await ready();
    await page.evaluate(() => {
      document.getElementById("question").labels[0].remove();
      document.getElementById("work").hidden = false;
      document.getElementById("question").removeAttribute("placeholder");
      document.querySelector("main").append(document.createElement("button"));
    });
    const found = (await faults(page)).join("\n");
    assert.match(found, /^label: /m);
    assert.match(found, /^button-name: /m);
  });

  const looks = {
    light: {}, dark: { colorScheme: "dark" },
    phone: { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true },
    "phone-dark": { viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true, colorScheme: "dark" },
    contrast: { forcedColors: "active" },
  };
  for (const [look, options] of Object.entries(looks)) {
    test(`${look}: no fault in any state, nothing wider than the screen`, async () => {
      const page = await ready({ reducedMotion: "reduce", ...options });
      const check = async (state) => {
        await shoot(page, `${look}-${state}`);
        assert.deepEqual(await faults(page), [], state);
        const [width, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        assert.ok(width <= screen, `${state}: ${width} of ${screen} pixels`);
      };
      await check("start");
      await page.setInputFiles("#file", file("x.gif", Buffer.from("GIF89a0123456789"), "image/gif"));
      await page.waitForSelector("#picture-trouble:not([hidden])");
      await check("refused");
      await choose(page, file(`${"a-very-long-name-without-any-space".repeat(3)}.png`, png(200, 120)));
      await check("chosen");
      Object.assign(mock.behaviour, { words: [" It", " shows", ` ${"unbroken".repeat(12)}`, ...Array(50).fill(" and")], hold: 20 });
      await page.click("#caption");
      await page.waitForFunction(() => document.querySelector(".answer")?.textContent.includes("and and"));
      await check("streaming");
      await page.click("#stop");
      await ended(page, 1);
      mock.behaviour = usual();
      await askFor(page, "What is in the middle of this picture, and which colour does it have?", 2);
      await page.click("summary");
      await check("answered");
      mock.behaviour.fail = { status: 429, headers: { "retry-after": "30" }, body: { error: { message: "The queue of 64 requests is full." } } };
      await askFor(page, "and now?", 3);
      await check("busy");
      await page.click("#tab-compare");
      await page.fill("#texts", `a red circle on a white ground\n${"a long text that goes on ".repeat(6)}\na cat`);
      await page.click("#compare-send");
      await page.waitForSelector("#scores:not([hidden])");
      await check("compared");
      await page.click("#clear");
      await check("clearing");
      await page.keyboard.press("Escape");
    });
  }

  test("nothing moves where the reader wants no motion", async () => {
    const page = await ready({ reducedMotion: "reduce" }, disc);
    Object.assign(mock.behaviour, { words: Array(9).fill(" word"), hold: 1 });
    await page.click("#caption");
    await page.waitForFunction(() => document.querySelector(".answer")?.textContent.includes("word"));
    const moving = await page.evaluate(() => document.getAnimations().length);
    assert.equal(moving, 0);
    assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".running .answer"), "::after").animationName), "none");
  });
});
