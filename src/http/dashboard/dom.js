// Makes elements. Whatever comes from outside becomes text: there is no way from here to markup.

/** An element with attributes, properties (`on…` are listeners) and children, which are elements or text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return made;
}

/** A table in a frame that scrolls. `name` tells it from others on the page. */
export function table(columns, rows, kind = '', name = 'Table') {
  const head = columns.map(([title, number]) =>
    element('th', { scope: 'col', class: number ? 'number' : null }, title),
  );
  const body = rows.map((cells) =>
    element(
      'tr',
      {},
      cells.map((cell, at) => {
        const [title, number] = columns[at];
        return element('td', { class: number ? 'number' : null, 'data-label': at > 0 ? title : null }, cell);
      }),
    ),
  );
  return element(
    'div',
    { class: 'frame', tabindex: '0', role: 'region', 'aria-label': name },
    element('table', { class: kind }, element('thead', {}, element('tr', {}, head)), element('tbody', {}, body)),
  );
}

/** Bars for the minutes of the last hour; those with errors stand out. Two elements for all of them:
 * a thousand charts are shown at once. */
export function chart({ calls, errors }) {
  const most = Math.max(1, ...calls);
  const sum = calls.reduce((all, one) => all + one, 0);
  const svg = drawn('svg', {
    class: 'chart',
    viewBox: '0 0 120 24',
    role: 'img',
    'aria-label': `${sum} calls in the last hour, at most ${most} in a minute`,
  });
  const bars = ['', ''];
  calls.forEach((count, at) => {
    if (count === 0) return;
    const height = Math.max(1, Math.round((24 * count) / most));
    bars[errors[at] > 0 ? 1 : 0] += `M${121 - 2 * (calls.length - at)} 24v-${height}`;
  });
  bars.forEach((path, at) => {
    if (path) svg.append(drawn('path', { d: path, class: at === 1 ? 'bad' : 'good' }));
  });
  return svg;
}

export function drawn(tag, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** A button that is disabled with its reason where there is one. */
export function button(title, onclick, { reason, kind, label } = {}) {
  return element(
    'button',
    { type: 'button', class: kind, onclick, disabled: Boolean(reason), title: reason, 'aria-label': label },
    title,
  );
}

/** Asks a question. Whether it was confirmed. */
export function confirmed(question) {
  return new Promise((resolve) => {
    const dialog = element(
      'dialog',
      { 'aria-label': question },
      element('p', {}, question),
      element(
        'form',
        { method: 'dialog', class: 'bar' },
        element('button', { value: 'no' }, 'Cancel'),
        element('button', { value: 'yes', class: 'danger' }, 'Confirm'),
      ),
    );
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function notice(text) {
  return element('p', { class: 'notice', role: 'alert' }, text);
}
