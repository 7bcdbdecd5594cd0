// The dashboard: chooses the page by the part of the address behind `#`, and reads the overview once a second while the
// page is seen.

import { forgetToken, read, useToken } from './api.js';
import { deploymentPage } from './deployment.js';
import { button, element, notice } from './dom.js';
import { overviewPage } from './overview.js';
import { pluginPage, pluginsPage } from './plugins.js';
import { wiringPage } from './wiring.js';

const INTERVAL = 1000;
const main = document.getElementById('main');
const status = document.getElementById('status');
const footer = document.getElementById('footer');
let page;
let leave = new AbortController();
let latest;
/** Counts what ends the readings that are under way. */
let turn = 0;

/** Shows the page of the address. */
function open() {
  leave.abort();
  leave = new AbortController();
  const [kind, name] = location.hash.replace(/^#\/?/, '').split('/');
  const area = ['plugins', 'wiring'].includes(kind) ? kind : '';
  for (const link of document.querySelectorAll('nav a')) {
    if (link.getAttribute('href') === `#/${area}`)
      link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (kind === 'plugins' && name) page = pluginPage(main, decodeURIComponent(name), leave.signal, latest.caller);
  else if (kind === 'plugins') page = pluginsPage(main, leave.signal);
  else if (kind === 'wiring') page = wiringPage(main, leave.signal);
  else if (kind === 'deployment' && name)
    page = deploymentPage(main, decodeURIComponent(name), leave.signal, latest.caller);
  else page = overviewPage(main, latest.caller);
  page.show(latest);
}

function askForToken(message) {
  turn += 1;
  page = undefined;
  leave.abort();
  const token = element('input', { type: 'password', id: 'token', autocomplete: 'off' });
  const form = element(
    'form',
    {
      class: 'bar',
      onsubmit: (event) => {
        event.preventDefault();
        useToken(token.value.trim());
        refresh();
      },
    },
    element('label', {}, 'Token ', token),
    element('button', { class: 'main' }, 'Open'),
  );
  main.replaceChildren(element('h1', {}, 'A token is needed'), form, element('p', { class: 'quiet' }, message));
  footer.replaceChildren();
  status.textContent = '';
  token.focus();
}

function showHead() {
  status.textContent = latest.status;
  status.className = `state ${latest.status}`;
  const { name, may } = latest.caller;
  footer.replaceChildren(
    `metagate ${latest.version}, addresses below /${latest.prefix}/. You are "${name}" and may: ${may.join(', ')}. `,
  );
  if (name !== 'local')
    footer.append(
      button('Forget the token', () => {
        forgetToken();
        askForToken('The token was forgotten.');
      }),
    );
}

/** Reads the overview, and again after a while. */
async function refresh() {
  const own = turn;
  try {
    const overview = await read('/api/overview');
    if (own !== turn) return undefined;
    latest = overview;
    const isFirst = !page;
    showHead();
    if (isFirst) open();
    else page.show(latest);
  } catch (error) {
    if (own !== turn) return undefined;
    if (error.status === 401 || error.status === 429) return askForToken(error.message);
    status.textContent = error.status ? 'refused' : 'not reached';
    status.className = 'state failed';
    if (!page) main.replaceChildren(notice(error.message));
  }
  return setTimeout(whenSeen, INTERVAL, own);
}

function whenSeen(own) {
  if (own !== turn) return undefined;
  if (!document.hidden) return refresh();
  return document.addEventListener('visibilitychange', () => whenSeen(own), { once: true });
}

function chooseTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

const theme = document.getElementById('theme');
theme.value = localStorage.getItem('metagate-theme') ?? '';
chooseTheme(theme.value);
theme.addEventListener('change', () => {
  localStorage.setItem('metagate-theme', theme.value);
  chooseTheme(theme.value);
});
addEventListener('hashchange', () => {
  if (!latest) return;
  open();
  main.focus();
});
refresh();
