// Runs in the page: each check calls the gateway as the browser lets it, and says what it got.
const gateway = new URLSearchParams(location.search).get('gateway');
const at = (name) => `${gateway}/local/${name.replace('/', '/v1/call/')}`;
const json = { 'content-type': 'application/json' };
const post = (name, values, more = {}) =>
  fetch(at(name), { method: 'POST', headers: json, body: JSON.stringify(values), ...more });

function image(crossOrigin) {
  return new Promise((resolve) => {
    const element = new Image();
    element.crossOrigin = crossOrigin;
    element.onload = () => resolve(element);
    element.onerror = () => resolve(null);
    element.src = at('shop/picture');
    document.querySelector('#picture').append(element);
  });
}

/** Events of a stream until the sender closes it. EventSource would connect again: the page closes it. */
function events(n) {
  return new Promise((resolve) => {
    const seen = [];
    const source = new EventSource(at(`shop/ticks?n=${n}`));
    source.onmessage = ({ data }) => {
      seen.push({ ...JSON.parse(data), at: performance.now() });
      if (seen.length === n) {
        source.close();
        resolve(seen);
      }
    };
    source.onerror = () => {
      source.close();
      resolve(seen);
    };
  });
}

/** Lines of a stream, each with the time at which fetch gave it. */
async function lines(n) {
  const answer = await post('shop/ticks', [n], { headers: { ...json, accept: 'application/x-ndjson' } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const seen = [];
  for (let rest = ''; ;) {
    const { value, done } = await reader.read();
    if (done) return { type: answer.headers.get('content-type'), seen, rest };
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    seen.push(...parts.map((line) => ({ ...JSON.parse(line), at: performance.now() })));
  }
}

const checks = {
  typed: async () => (await post('sums/add', { a: 40, b: 2 })).json(),
  wrongType: async () => {
    const answer = await post('sums/add', { a: 'x', b: 2 });
    const { headers } = answer;
    const code = (await answer.json()).error.code;
    return { status: answer.status, code, header: headers.get('x-metagate-error'), id: !!headers.get('x-request-id') };
  },
  noSuchFunction: async () => {
    const answer = await post('sums/none', []);
    return { status: answer.status, header: answer.headers.get('x-metagate-error') };
  },
  eventSource: () => events(3),
  lines: () => lines(3),
  upload: async () => {
    const form = new FormData();
    form.append('title', 'Crème brûlée');
    const bytes = Uint8Array.from({ length: 3000 }, (_, i) => i % 256);
    form.append('picture', new File([bytes], 'naïve "name".png', { type: 'image/png' }));
    return (await fetch(at('shop/upload'), { method: 'POST', body: form })).json();
  },
  image: async () => {
    const element = await image('anonymous');
    if (!element) return null;
    const canvas = document.createElement('canvas').getContext('2d');
    canvas.drawImage(element, 0, 0);
    const point = Array.from(canvas.getImageData(5, 5, 1, 1).data);
    return { width: element.naturalWidth, height: element.naturalHeight, point };
  },
  credentials: async () => {
    const login = await post('shop/login', [], { credentials: 'include' });
    const authorization = 'Bearer t0ken';
    const headers = { ...json, authorization };
    return {
      login: await login.json(),
      shown: login.headers.get('x-shown'),
      hidden: login.headers.get('x-hidden'),
      cookie: login.headers.get('set-cookie'),
      with: await (await post('shop/whoami', [], { credentials: 'include', headers })).json(),
      without: await (await post('shop/whoami', [], { credentials: 'omit' })).json(),
    };
  },
  post: async () => (await post('shop/post', [])).json(),
  posts: async () => (await fetch(at('shop/posts'))).json(),
};

/** What the checks of these names give, in order. A refusal by the browser is the text of its error. */
async function run(names) {
  const results = {};
  for (const name of names) {
    try {
      results[name] = await checks[name]();
    } catch (error) {
      results[name] = `${error.name}: ${error.message}`;
    }
  }
  document.querySelector('#results').textContent = JSON.stringify(results, null, 1);
  return results;
}
