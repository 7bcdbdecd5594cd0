// The log of a deployment as it grows, with a filter.

import { element, notice } from './dom.js';

/** Lines that are kept. */
const LINES = 2000;

/** The log of a deployment. */
export function logTail(name) {
  const lines = [];
  const filter = element('input', { type: 'search', placeholder: 'text', oninput: () => draw() });
  const shown = element('pre', { tabindex: '0', 'aria-label': `Log of ${name}` });
  let waits = false;

  function draw() {
    waits = false;
    const wanted = filter.value.toLowerCase();
    const isAtEnd = shown.scrollTop + shown.clientHeight >= shown.scrollHeight - 4;
    const found = wanted ? lines.filter((line) => line.toLowerCase().includes(wanted)) : lines;
    shown.textContent = found.length > 0 ? found.join('\n') : wanted ? 'no line has this text' : 'no lines yet';
    if (isAtEnd) shown.scrollTop = shown.scrollHeight;
  }

  const section = element(
    'section',
    {},
    element('h2', {}, 'Log'),
    element('div', { class: 'bar' }, element('label', {}, 'Lines with ', filter)),
    shown,
  );
  /** Adds the lines of an event; the first of a connection has all that are kept. */
  function add({ whole, lost, lines: added }) {
    if (whole) lines.length = 0;
    if (lost > 0) lines.push(`… ${lost} lines were not shown in time`);
    lines.push(...added);
    if (lines.length > LINES) lines.splice(0, lines.length - LINES);
    if (!waits) requestAnimationFrame(draw);
    waits = true;
  }

  draw();
  return { section, add, refuse: (reason) => section.append(notice(reason)) };
}
