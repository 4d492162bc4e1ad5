// What the page asks of the server, and what can go wrong, in words. Addresses are relative, so that
// the page also works under a path of a reverse proxy.

// kind: "stopped" by the reader, "key", "busy", "loading", "large", "refused", "failed" or "lost".
// seconds: how long the server asks to wait. said: the server's own words.
class Trouble extends Error {
  constructor(kind, message, { said = "", seconds = 0 } = {}) {
    super(message);
    Object.assign(this, { kind, said, seconds });
  }
}

// ---- the key: kept by this tab alone ----

let keyInMemory = "";

function apiKey() {
  try {
    return sessionStorage.getItem("blip2-key") ?? keyInMemory;
  } catch {
    return keyInMemory;  // a browser that stores nothing
  }
}

function keepKey(key) {
  keyInMemory = key;
  try {
    if (key) sessionStorage.setItem("blip2-key", key);
    else sessionStorage.removeItem("blip2-key");
  } catch { /* it is kept in memory */ }
}

// ---- requests ----

// The server's reply, if it is a good one. Asks the reader for a key where the server wants one.
async function request(path, body, signal) {
  for (;;) {
    const key = apiKey();
    const reply = await send(path, body, key, signal);
    if (reply.ok) return reply;
    const trouble = await troubleOf(reply, key);
    if (trouble.kind !== "key" || !(await askForKey(trouble.message, key, signal))) throw trouble;
  }
}

async function send(path, body, key, signal) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const options = { headers, signal, cache: "no-store", credentials: "omit" };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  try {
    return await fetch(path, options);
  } catch (error) {
    throw broken(error);
  }
}

function broken(error) {
  if (error.name === "AbortError") return new Trouble("stopped", "Stopped.");
  return new Trouble("lost", "The connection to the server was lost.");
}

async function troubleOf(reply, key) {
  const { said, progress } = await wordsOf(reply);
  const seconds = Number(reply.headers.get("Retry-After")) || 0;
  const trouble = (kind, message) => new Trouble(kind, message, { said, seconds });
  switch (reply.status) {
    case 401: case 403:
      return trouble("key", key ? "The server did not accept this API key." : "This server asks for an API key.");
    case 413: return trouble("large", "The request is larger than this server takes.");
    case 429: return trouble("busy", "The server is busy with other requests.");
    case 502: case 504: return trouble("lost", "The server behind this address does not answer.");
    case 503: return trouble("loading", progress === null ? "The server takes no requests at the moment."
      : `The model is being loaded: ${Math.round(progress * 100)} %.`);
  }
  if (reply.status < 500) return trouble("refused", "The server refused this request.");
  return trouble("failed", "The server failed to answer.");
}

// What the body of a bad reply says: its message, in OpenAI's form or Ollama's, and the server's state
// with the share loaded, in that of /health.
async function wordsOf(reply) {
  let body = null;
  try {
    body = await reply.json();
  } catch { /* not every reply is JSON: a proxy's is a page */ }
  const said = body?.error?.message ?? body?.error ?? body?.message;
  return {
    said: typeof said === "string" ? said : "",
    progress: typeof body?.progress === "number" ? body.progress : null,
    status: body?.status,
  };
}

// ---- what the server can say ----

// {state: "ready" | "loading" | "stopping" | "lost", progress: 0 … 1 or null}. It needs no key.
async function health() {
  try {
    const reply = await send("health", null, "", AbortSignal.timeout(10000));
    if (reply.ok) return { state: "ready", progress: null };
    const { progress, status } = await wordsOf(reply);
    if (reply.status !== 503) return { state: "lost", progress: null };
    return { state: status === "draining" ? "stopping" : "loading", progress };
  } catch {
    return { state: "lost", progress: null };
  }
}

// The model that the server has: {id, limits, capabilities, …}.
async function servedModel() {
  const { data } = await (await request("v1/models")).json();
  return data[0];
}

// Streams an answer to {messages, maxTokens (0: the model's own), beams}. `hear` gets each piece of
// text. Returns {finish, tokens, first, seconds}: why it ended ("stop" or "length"), how many tokens
// it has, when the first came, how long all took.
async function streamAnswer(model, { messages, maxTokens, beams }, hear, signal) {
  const body = { model, messages, stream: true, stream_options: { include_usage: true }, num_beams: beams };
  if (maxTokens) body.max_tokens = maxTokens;
  const result = { finish: "", tokens: 0, first: 0, seconds: 0 };
  const start = performance.now();
  const since = () => (performance.now() - start) / 1000;
  const reply = await request("v1/chat/completions", body, signal);
  for await (const event of eventsOf(reply)) {
    readEvent(event, result, (text) => {
      if (text) result.first ||= since();
      hear(text);
    });
  }
  if (!result.finish) throw new Trouble("lost", "The connection was lost before the answer ended.");
  return { ...result, seconds: since() };
}

function readEvent(event, result, hear) {
  if (event.error) {
    throw new Trouble("failed", "The server failed within the answer.", { said: event.error.message ?? "" });
  }
  const choice = event.choices?.[0];
  if (choice?.delta?.content) hear(choice.delta.content);
  if (choice?.finish_reason) result.finish = choice.finish_reason;
  if (event.usage) result.tokens = event.usage.completion_tokens;
}

// The JSON objects of a stream of server-sent events, until its [DONE] or its end.
async function* eventsOf(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => { throw broken(error); });
    if (done) return;
    const lines = (held + value).split(/\r?\n/);
    held = lines.pop();
    for (const line of lines) {
      const data = line.startsWith("data:") ? line.slice(5).trim() : "";
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

// How well each text fits the picture: [{index, itc, itm}], contrast (cosine) and match (probability).
// A server that tells one score at a time is asked for both.
async function scoresOf(model, picture, texts, signal) {
  const text_1 = { content: [{ type: "image_url", image_url: { url: picture } }] };
  const ask = async (more) => {
    const reply = await request("v1/score", { model, text_1, text_2: texts, ...more }, signal);
    return (await reply.json().catch((error) => { throw broken(error); })).data;
  };
  const matches = await ask({});
  const contrasts = matches.every((entry) => "itc" in entry) ? matches : await ask({ score_by: "itc" });
  return matches.map(({ index, score, itm }, i) => {
    const contrast = contrasts[i];
    return { index, itm: itm ?? score, itc: contrast.itc ?? contrast.score };
  });
}
