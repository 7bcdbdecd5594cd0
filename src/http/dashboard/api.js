// Requests to the admin API: the token, errors, and the overview that all pages share.

const TOKEN = 'metagate-token';

/** An answer that is not a success. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

export function useToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

/** The token of the admin API, if one was given. */
export function heldToken() {
  return sessionStorage.getItem(TOKEN) ?? '';
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
}

/** Asks the gateway. Throws `Refused` unless it succeeds. */
export async function ask(path, { method = 'GET', headers = {}, body, signal } = {}) {
  const token = heldToken();
  const authorization = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, {
    method,
    headers: { ...authorization, ...headers },
    body,
    signal,
    cache: 'no-store',
  });
  if (answer.ok) return answer;
  const text = await answer.text();
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    /* an answer of a proxy */
  }
  throw new Refused(answer.status, error.code ?? '', error.message ?? `the gateway answered ${answer.status}`);
}

export async function read(path, options) {
  return (await ask(path, options)).json();
}

export function change(path, value) {
  return ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });
}

/** Calls `each` with the data and the name of every event of a stream, until it ends or `signal` aborts it. */
export async function events(path, signal, each, { headers, ...options } = {}) {
  const answer = await ask(path, { ...options, headers: { ...headers, accept: 'text/event-stream' }, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ''; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split('\n').filter((line) => line.startsWith('data:'));
      const event = block.match(/^event: ?(.*)$/m)?.[1] ?? 'message';
      if (lines.length > 0) each(lines.map((line) => line.slice(5).replace(/^ /, '')).join('\n'), event);
    }
  }
}

/** Why the caller may not change a deployment; nothing if they may. */
export function whyNot({ name, may }, deployment) {
  const matches = (pattern) =>
    new RegExp(
      `^${pattern
        .split('')
        .map((c) => (c === '*' ? '.*' : c === '?' ? '.' : c.replace(/[^\w]/, '\\$&')))
        .join('')}$`,
    );
  const allowed = may.some(
    (one) => one === 'admin' || (one.startsWith('deploy:') && matches(one.slice(7)).test(deployment)),
  );
  return allowed ? undefined : `the token "${name}" may only: ${may.join(', ')}`;
}
