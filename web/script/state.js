// Whether the server is there, and which model it has. The page looks often while something is
// missing, seldom while all is well.

const server = { state: "waiting", model: null, waiters: [] };

function model() {
  return server.model?.id ?? "";
}

function limits() {
  return server.model?.limits ?? {};
}

// Waits until the model can be asked.
function serverReady(signal) {
  if (server.state === "ready" && server.model) return Promise.resolve();
  return new Promise((resolve, reject) => {
    server.waiters.push(resolve);
    signal?.addEventListener("abort", () => reject(new Trouble("stopped", "Stopped.")));
  });
}

let wake = () => {};

// Looks at the server's state now instead of later.
function lookAgain() {
  wake();
}

async function watchServer() {
  for (;;) {
    await lookAtServer();
    const well = server.state === "ready" && server.model;
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, well ? 20000 : 1000);
    });
    if (document.hidden) {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    }
  }
}

async function lookAtServer() {
  const { state, progress } = await health();
  if (state === "ready" && !server.model) return learnModel();
  showState(state, progress);
}

async function learnModel() {
  try {
    server.model = await servedModel();
    showModel();
    showState("ready");
  } catch (trouble) {
    showState(trouble.kind === "key" ? "key" : trouble.kind === "loading" ? "loading" : "lost");
    if (trouble.kind === "key") await keyGiven();
  }
}

// ---- what the reader sees of it ----

const STATES = {
  ready: { word: "ready" },
  loading: {
    word: "loading",
    banner: "The model is being loaded. Choose a picture meanwhile: what you ask waits for the model.",
  },
  stopping: { word: "stopping", banner: "The server is being stopped. What you ask waits until it is back." },
  lost: { word: "no connection", banner: "The server does not answer. The page tries again every second.", bad: true },
  key: { word: "key needed", banner: "This server answers only with an API key.", bad: true },
};

function showState(state, progress = null) {
  const { word, banner, bad } = STATES[state];
  const before = server.state;
  server.state = state;
  at("state").dataset.state = state;
  at("state-text").textContent = progress === null ? word : `${word} ${Math.round(progress * 100)} %`;
  show(at("banner"), Boolean(banner));
  at("banner").dataset.kind = bad ? "bad" : "calm";
  at("banner-text").textContent = banner ?? "";
  show(at("banner-key"), state === "key");
  showProgress(progress);
  if (state !== before && (banner || before !== "waiting")) announce(banner ?? "The model is ready.");
  if (state === "ready") server.waiters.splice(0).forEach((resolve) => resolve());
}

function showProgress(progress) {
  show(at("banner-progress"), progress !== null);
  if (progress !== null) at("banner-progress").value = progress;
}

function showModel() {
  at("model").textContent = server.model.id;
  at("limits").textContent = limitsInWords();
  at("longest").max = limits().max_tokens ?? "";
  at("beams").max = limits().max_beams ?? 16;
  if (limits().max_tokens) at("longest").placeholder = `at most ${limits().max_tokens.toLocaleString("en")}`;
  const can = abilities(server.model);
  show(at("tab-ask"), can.includes("completion"));
  show(at("tab-compare"), can.includes("score"));
  if (!can.includes("completion")) selectTab(at("tab-compare"));
  at("promise").textContent = promiseInWords(can);
  setFormats();
  show(at("key-kept"), Boolean(apiKey()));
}

// What the model can do: "completion", "score".
function abilities({ capabilities, architecture }) {
  if (capabilities) return capabilities;
  const outputs = architecture?.output_modalities ?? ["text", "embeddings"];
  return [outputs.includes("text") ? "completion" : "", outputs.includes("embeddings") ? "score" : ""];
}

// What the reader can do with a picture.
function promiseInWords(can) {
  const words = [];
  if (can.includes("completion")) words.push("captions it", "answers questions");
  if (can.includes("score")) words.push("tells which text fits");
  return `Then the model ${listOf(words)}.`;
}

// What the model reads and what it makes of it.
function limitsInWords() {
  const { image_formats = Object.keys(FORMATS), max_image_bytes, max_image_pixels, max_tokens } = limits();
  const most = [];
  if (max_image_bytes) most.push(sizeOf(max_image_bytes));
  if (max_image_pixels) most.push(megapixelsOf(max_image_pixels));
  const reads = `${server.model.id} reads ${listOf(image_formats.map(formatName), "and")}`;
  const upTo = most.length ? ` of up to ${listOf(most, "and")}` : "";
  if (!abilities(server.model).includes("completion")) {
    return `${reads}${upTo} and compares them with texts. It has no language model, so it writes no captions and no answers.`;
  }
  return `${reads}${upTo}${max_tokens ? ` and writes at most ${countOf(max_tokens, "token")}` : ""}.`;
}

// The speed of the last answer that was long enough to have one, in the top line.
function showSpeed(rate) {
  if (!rate) return;
  show(at("speed"), true);
  at("speed").textContent = `${rateInWords(rate)} tokens/s`;
}

function rateInWords(rate) {
  return rate >= 10 ? String(Math.round(rate)) : rate.toFixed(1);
}
