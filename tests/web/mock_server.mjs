// A server for the tests of the page: it speaks the forms of `blip2 serve`, without a model, and
// fails in the ways that a test asks for. Only tests use it.

import http from "node:http";

const MODEL = {
  id: "demo-model", object: "model", created: 1790000000, owned_by: "blip2",
  architecture: { input_modalities: ["text", "image"], output_modalities: ["text"] },
  limits: { max_image_pixels: 4_000_000, max_image_bytes: 2_000_000, max_tokens: 256, max_n: 8, image_formats: ["jpeg", "png", "webp"] },
  capabilities: ["completion", "embedding", "score"],
};

// How the mock behaves; tests change these fields while it runs.
export function usual() {
  return {
    loading: null,        // 0 … 1: /health says 503 with this share
    draining: false,      // /health says 503 because the server stops
    key: "",              // the API key that it asks for
    fail: null,           // {status, body, headers, times}: instead of the next answers
    words: [" a", " red", " circle", " on", " white"],
    wait: 5,              // milliseconds between words
    hold: null,           // after so many words no more come until mock.goOn() is called
    cut: null,            // the connection breaks after so many words
    finish: "stop",
    model: MODEL,
    oneScore: false,      // /v1/score tells one score at a time
  };
}

const refusal = (message, type) => ({ error: { message, type, param: null, code: null } });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function json(reply, status, body, headers = {}) {
  reply.writeHead(status, { "content-type": "application/json", ...headers });
  reply.end(typeof body === "string" ? body : JSON.stringify(body));
}

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return parts.length ? JSON.parse(Buffer.concat(parts).toString()) : null;
}

// Until the test lets the answer go on, or the client leaves.
function held(mock, reply) {
  return new Promise((resolve) => {
    mock.goOn = resolve;
    reply.once("close", resolve);
  });
}

async function chat(mock, reply, asked) {
  const chunk = (delta, more = {}) => reply.write(`data: ${JSON.stringify({
    id: "chatcmpl-1", object: "chat.completion.chunk", created: 1790000000, model: MODEL.id,
    choices: [{ index: 0, delta, finish_reason: null, ...more }] })}\n\n`);
  reply.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  chunk({ role: "assistant", content: "" });
  let words = 0;
  for (const word of mock.behaviour.words) {
    if (words === mock.behaviour.hold) await held(mock, reply);
    else await sleep(mock.behaviour.wait);
    if (words === mock.behaviour.cut) return reply.destroy();
    if (reply.destroyed) return mock.stopped.push(asked);
    chunk({ content: word });
    words += 1;
  }
  chunk({}, { finish_reason: mock.behaviour.finish });
  const usage = { prompt_tokens: 40, completion_tokens: words, total_tokens: 40 + words };
  reply.write(`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", choices: [], usage })}\n\n`);
  reply.end("data: [DONE]\n\n");
}

function score(mock, reply, { text_2, score_by }) {
  const data = text_2.map((text, index) => {
    const itm = text.includes("circle") ? 0.931 : 0.0421 * (index + 1);
    const itc = text.includes("circle") ? 0.614 : 0.2 - 0.25 * index;
    const score = score_by === "itc" ? itc : itm;
    return { index, object: "score", score, ...(mock.behaviour.oneScore ? {} : { itm, itc }) };
  });
  json(reply, 200, { id: "score-1", object: "list", model: MODEL.id, data, usage: { prompt_tokens: 9, total_tokens: 9 } });
}

function failNow(mock, reply) {
  const { fail } = mock.behaviour;
  fail.times = (fail.times ?? 1) - 1;
  if (!fail.times) mock.behaviour.fail = null;
  json(reply, fail.status, fail.body ?? "", fail.headers);
}

async function answer(mock, request, reply) {
  const path = new URL(request.url, "http://mock").pathname;
  const { behaviour } = mock;
  if (path === "/") {
    reply.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-security-policy": mock.policy });
    return reply.end(mock.page);
  }
  if (path === "/health" && behaviour.draining) return json(reply, 503, { status: "draining" });
  if (path === "/health") {
    return behaviour.loading === null ? json(reply, 200, { status: "ok" })
      : json(reply, 503, { status: "loading", progress: behaviour.loading });
  }
  const body = await bodyOf(request);
  if (behaviour.key && request.headers.authorization !== `Bearer ${behaviour.key}`) {
    return json(reply, 401, refusal("Incorrect API key provided.", "invalid_request_error"));
  }
  if (behaviour.loading !== null) return json(reply, 503, { ...refusal("The model is being loaded.", "server_error"), progress: behaviour.loading });
  if (path === "/v1/models") return json(reply, 200, { object: "list", data: [behaviour.model] });
  mock.requests.push({ path, body });
  if (behaviour.fail) return failNow(mock, reply);
  if (path === "/v1/chat/completions") return chat(mock, reply, body);
  if (path === "/v1/score") return score(mock, reply, body);
  json(reply, 404, refusal(`No route ${path}.`, "invalid_request_error"));
}

// Serves `page` with `policy`. Returns {url, behaviour, requests, stopped, goOn(), close()}: what was
// asked, and which answers the client did not wait for.
export async function startMock(page, policy) {
  const mock = { page, policy, behaviour: usual(), requests: [], stopped: [] };
  const server = http.createServer((request, reply) => {
    answer(mock, request, reply).catch((error) => json(reply, 500, refusal(String(error), "server_error")));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  mock.url = `http://127.0.0.1:${server.address().port}/`;
  mock.close = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
  mock.open = () => new Promise((resolve) => server.listen(new URL(mock.url).port, "127.0.0.1", resolve));
  return mock;
}
