/** A request that was answered with an error, in the server's words. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(typeof detail === 'string' ? detail : (detail ?? []).map?.((d) => d.msg).join('; ') || `status ${status}`);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Accept: 'application/json' }, ...options });
  } catch {
    throw new ApiError(0, 'The server does not answer. Is `updraft standalone` running?');
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new ApiError(answer.status, body?.detail ?? answer.statusText);
  return body;
}

export const get = (path) => ask(path);

export const send = (method, path, body) =>
  ask(path, {
    method,
    headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });

export const enc = encodeURIComponent;
