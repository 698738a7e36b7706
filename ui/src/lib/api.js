/** A request that was answered with an error, in the server's words. */
export class ApiError extends Error {
  constructor(status, detail, path = '') {
    super(said(detail) || `The server answered with status ${status}.`);
    this.status = status;
    this.path = path;
  }
}

/** FastAPI's lists of errors as sentences: which field, and what is wrong with it. */
function said(detail) {
  if (typeof detail === 'string') return detail;
  if (Array.isArray(detail)) return detail.map((one) => [one.loc?.slice(1).join('.'), one.msg].filter(Boolean).join(': ')).join('; ');
  return detail?.reason ?? detail?.message ?? '';
}

/** Set by the session: what to call when the server asks who is there, which says whether to ask once more; and what says it. */
export const hooks = { unauthorized: async () => false, headers: () => ({}) };

/** A connection that died while a computer slept says nothing: a question that got no answer by then is over. */
const PATIENCE = 60_000;

async function ask(path, options = {}, again = true) {
  let answer;
  let text;
  const isQuestion = !options.method;
  const headers = { Accept: 'application/json', ...hooks.headers(), ...options.headers };
  try {
    answer = await fetch(path, { signal: isQuestion ? AbortSignal.timeout(PATIENCE) : undefined, ...options, headers, credentials: 'same-origin' });
    text = await answer.text();
  } catch {
    throw new ApiError(isQuestion ? 0 : -1, 'The server does not answer. Is `updraft standalone` running?', path);
  }
  if (answer.ok) return { text, answer };
  if (answer.status === 401 && (await hooks.unauthorized()) && again) return ask(path, options, false);
  let detail = answer.statusText;
  try {
    detail = JSON.parse(text).detail ?? detail;
  } catch {
    detail = text.slice(0, 300) || detail;
  }
  throw new ApiError(answer.status, detail, path);
}

const known = new Map();
const KNOWN_MAX = 40;

/** Asks for JSON. What has not changed is the same object as before, so that nothing is drawn anew. */
export async function get(path, options) {
  const { text } = await ask(path, options);
  const before = known.get(path);
  if (before?.text === text) return before.value;
  const value = text ? JSON.parse(text) : null;
  known.delete(path);
  known.set(path, { text, value });
  if (known.size > KNOWN_MAX) known.delete(known.keys().next().value);
  return value;
}

/** What a path answers, or `otherwise` where there is no such thing. */
export async function getOr(path, otherwise) {
  try {
    return await get(path);
  } catch (error) {
    if (error.status === 404 || error.status === 405 || error.status === 501) return otherwise;
    throw error;
  }
}

export async function send(method, path, body) {
  const options = { method, headers: { 'Content-Type': 'application/json' } };
  if (body !== undefined) options.body = JSON.stringify(body);
  const { text } = await ask(path, options);
  return text ? JSON.parse(text) : null;
}

export const enc = encodeURIComponent;

/** A query string of what is given: lists are repeated, nothing is left out. */
export function query(given) {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(given)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== null && one !== '') pairs.append(name, one);
  }
  const text = pairs.toString();
  return text ? `?${text}` : '';
}

export const dagPath = (dagId) => `/api/v2/dags/${enc(dagId)}`;
export const runPath = (dagId, runId) => `${dagPath(dagId)}/dagRuns/${enc(runId)}`;
/** The path of a task instance; of a mapped one where `map` is a number from 0. */
export const taskPath = (dagId, runId, taskId, map = -1) =>
  `${runPath(dagId, runId)}/taskInstances/${enc(taskId)}${map >= 0 ? `/${map}` : ''}`;
export const board = (...parts) => `/api/updraft/v1/${parts.map(enc).join('/')}`;
