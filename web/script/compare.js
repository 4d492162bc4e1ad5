// Texts compared: how well each fits the picture, as bars.

let comparing = null;  // the AbortController of the comparison that runs

function stopComparing() {
  comparing?.abort();
}

function showComparing(running) {
  show(at("compare-stop"), running);
  show(at("compare-send"), !running);
}

async function compare() {
  const texts = at("texts").value.split("\n").map((text) => text.trim()).filter(Boolean);
  showTrouble(at("compare-trouble"), texts.length ? null : new Trouble("refused", "Write at least one text."));
  if (!texts.length || comparing) return;
  const { entry } = desk;
  comparing = new AbortController();
  showComparing(true);
  try {
    await writeScores(entry, texts, comparing.signal);
  } catch (trouble) {
    if (!(trouble instanceof Trouble)) throw trouble;
    if (trouble.kind !== "stopped") showTrouble(at("compare-trouble"), trouble, compare);
    lookAgain();
  } finally {
    comparing = null;
    showComparing(false);
  }
}

async function writeScores(entry, texts, signal) {
  announce("The texts are compared.");
  await serverReady(signal);
  const scores = await scoresOf(model(), await dataOf(entry.blob), texts, signal);
  entry.texts = texts.join("\n");
  entry.scores = scores.map((score) => ({ ...score, text: texts[score.index] }));
  if (desk.entry === entry) {
    showScores(entry);
    announce(bestInWords(entry.scores));
  }
  await keepEntry(entry);
}

function bestInWords(scores) {
  const best = (key) => scores.toSorted((a, b) => b[key] - a[key])[0];
  return `Best by contrast: ${best("itc").text}. Best by match: ${best("itm").text}.`;
}

// ---- the bars ----

function showScores({ scores }) {
  show(at("scores"), scores.length > 0);
  const key = at("order").value;
  const sign = key === "index" ? 1 : -1;
  const sorted = scores.toSorted((a, b) => sign * (a[key] - b[key]));
  at("score-list").replaceChildren(...sorted.map((score) => scoreItem(score, key)));
}

function scoreItem({ text, itc, itm }) {
  return make("li", {}, make("p", { className: "text" }, text),
    bar("Contrast", "contrast", itc, itc.toFixed(3).replace("-", "−")),
    bar("Match", "match", itm, `${(itm * 100).toFixed(1)} %`));
}

// A bar from 0 to 1 with its name and its value; a cosine below 0 has no bar.
function bar(name, kind, value, words) {
  const line = make("i");
  line.setAttribute("aria-hidden", "true");
  line.style.setProperty("--share", `${Math.min(Math.max(value, 0), 1) * 100}%`);
  return make("p", { className: `bar ${kind}` }, make("span", {}, name), line, make("b", {}, words));
}

function watchCompare() {
  at("compare").onsubmit = (event) => {
    event.preventDefault();
    compare();
  };
  at("texts").onkeydown = (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    compare();
  };
  at("compare-stop").onclick = stopComparing;
  at("order").onchange = () => showScores(desk.entry);
}
