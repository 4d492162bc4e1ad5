// Captions and questions: one turn after the other, written as the words come.

let asking = null;  // the AbortController of the answer that is being written

function stopAsking() {
  asking?.abort();
}

// ---- turns on the page ----

// Shows a turn {question, answer, facts}; "" is the question of a caption. Returns its parts.
function showTurn({ question, answer, facts }) {
  const answerText = make("p", { className: "answer" }, answer.trimStart());
  const factsLine = make("p", { className: "facts" });
  const heading = make("p", { className: "asked" }, question || "Caption");
  const item = make("li", {}, heading, answerText, factsLine);
  at("turns").append(item);
  if (facts) showFacts(factsLine, facts, answer);
  return { item, answerText, factsLine };
}

function showFacts(line, facts, answer) {
  line.replaceChildren(facts);
  if (!navigator.clipboard || !answer) return;
  const copy = make("button", { type: "button", className: "plain" }, "Copy");
  copy.onclick = async () => {
    await navigator.clipboard.writeText(answer.trim());
    announce("Copied.");
  };
  line.append(copy);
}

function factsOf({ finish, tokens, first, seconds }) {
  const parts = [];
  if (tokens) parts.push(countOf(tokens, "token"));
  const rate = rateOf(tokens, first, seconds);
  if (rate) parts.push(`${rateInWords(rate)} tokens/s`);
  if (finish === "length") parts.push("cut off at the longest length");
  return parts.join(" · ");
}

// Tokens a second after the first one, which waits for the picture to be read.
function rateOf(tokens, first, seconds) {
  return tokens > 1 && seconds > first ? (tokens - 1) / (seconds - first) : 0;
}

// ---- asking ----

// The messages of a request: the picture, earlier turns if the reader wants them, the question. A
// caption is asked for by the picture alone.
async function messagesOf(entry, question) {
  const picture = { type: "image_url", image_url: { url: await dataOf(entry.blob) } };
  const earlier = question && at("remember").checked ? entry.turns.filter((turn) => turn.question && turn.answer) : [];
  const texts = [...earlier.flatMap((turn) => [turn.question, turn.answer.trim()]), question];
  return texts.map((text, index) => {
    const parts = text ? [{ type: "text", text }] : [];
    if (index === 0) return { role: "user", content: [picture, ...parts] };
    return { role: index % 2 ? "assistant" : "user", content: text };
  });
}

async function ask(question) {
  const { entry } = desk;
  const controller = begin();
  const turn = { question, answer: "", facts: "" };
  const view = showTurn(turn);
  view.item.classList.add("running");
  at("ask").scrollIntoView({ block: "nearest" });
  try {
    await writeAnswer(entry, turn, view, controller.signal);
  } catch (trouble) {
    endBadly(trouble, turn, view);
  }
  view.item.classList.remove("running");
  if (turn.facts) showFacts(view.factsLine, turn.facts, turn.answer);
  finish(controller);
  if (turn.facts) await keepTurn(entry, turn);
}

async function writeAnswer(entry, turn, view, signal) {
  if (server.state !== "ready") view.factsLine.textContent = "Waiting for the server …";
  await serverReady(signal);
  view.factsLine.textContent = "";
  announce(turn.question ? "The model answers." : "The model writes a caption.");
  const hear = (text) => {
    turn.answer += text;
    view.answerText.textContent = turn.answer.trimStart();
  };
  const messages = await messagesOf(entry, turn.question);
  const asked = { messages, maxTokens: Number(at("longest").value) || 0, beams: Number(at("beams").value) || 1 };
  const result = await streamAnswer(model(), asked, hear, signal);
  turn.facts = factsOf(result) || "done";
  showSpeed(rateOf(result.tokens, result.first, result.seconds));
  announce(turn.answer.trim() || "The answer is empty.");
}

function endBadly(trouble, turn, view) {
  if (!(trouble instanceof Trouble)) throw trouble;
  if (trouble.kind === "stopped") {
    if (turn.answer) turn.facts = "stopped";
    else view.item.remove();
    announce("Stopped.");
    return;
  }
  const again = () => {
    view.item.remove();
    ask(turn.question);
  };
  const place = make("div", { className: "trouble" });
  place.setAttribute("role", "alert");
  view.item.append(place);
  showTrouble(place, trouble, again);
  lookAgain();
}

async function keepTurn(entry, turn) {
  entry.turns.push(turn);
  if (desk.entry === entry) describePicture(entry.name, entry);
  await keepEntry(entry);
}

// ---- the form ----

function begin() {
  stopAsking();
  asking = new AbortController();
  const held = [at("send"), at("caption")].includes(document.activeElement);
  showAsking(true);
  if (held) at("stop").focus({ preventScroll: true });
  return asking;
}

function finish(controller) {
  if (asking !== controller) return;  // another question came in between
  asking = null;
  const held = document.activeElement === at("stop");
  showAsking(false);
  if (held) at("question").focus({ preventScroll: true });
}

function showAsking(running) {
  show(at("stop"), running);
  show(at("send"), !running);
  at("caption").disabled = running;
}

function sendQuestion() {
  const question = at("question").value.trim();
  if (!question || asking) return;
  at("question").value = "";
  ask(question);
}

function watchAsk() {
  at("ask").onsubmit = (event) => {
    event.preventDefault();
    sendQuestion();
  };
  at("question").onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    sendQuestion();
  };
  at("caption").onclick = () => ask("");
  at("stop").onclick = stopAsking;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) stopAsking();
  });
}
