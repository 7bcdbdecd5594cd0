// Deploys a folder or a zip that is dropped or chosen, and shows the steps as they happen.

import { ask, events } from './api.js';
import { button, element, notice } from './dom.js';
import { isWanted, zip } from './zip.js';

/** Files that a package may have, so that a slip does not fill the memory of the browser. */
const FILES = 10_000;

async function read(file, path) {
  return { path, bytes: new Uint8Array(await file.arrayBuffer()) };
}

/** The files below a dropped folder. */
async function walk(entry, path, found) {
  if (!isWanted(path) || found.length >= FILES) return;
  if (entry.isFile) {
    found.push(
      await read(
        await new Promise((done, failed) => {
          entry.file(done, failed);
        }),
        path,
      ),
    );
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const entries = await new Promise((done, failed) => {
      reader.readEntries(done, failed);
    });
    if (entries.length === 0) return;
    for (const one of entries) await walk(one, path ? `${path}/${one.name}` : one.name, found);
  }
}

/** What was dropped: a name for it, and the archive. */
async function dropped(items) {
  const entry = [...items].map((item) => item.webkitGetAsEntry?.()).find(Boolean);
  if (!entry) throw new Error('drop a folder or a zip file');
  if (entry.isFile)
    return chosenZip(
      await new Promise((done, failed) => {
        entry.file(done, failed);
      }),
    );
  const files = [];
  await walk(entry, '', files);
  return packed(entry.name, files);
}

async function chosenFolder(list) {
  const all = [...list].map((file) => ({ file, path: file.webkitRelativePath.split('/').slice(1).join('/') }));
  const wanted = all.filter(({ path }) => isWanted(path));
  if (wanted.length > FILES) throw new Error(`the folder has more than ${FILES} files`);
  return packed(
    list[0].webkitRelativePath.split('/')[0],
    await Promise.all(wanted.map(({ file, path }) => read(file, path))),
  );
}

function chosenZip(file) {
  if (!file.name.endsWith('.zip')) throw new Error(`${file.name} is not a zip file`);
  return { name: file.name.slice(0, -4), archive: file };
}

function packed(name, files) {
  if (files.length === 0) throw new Error(`the folder ${name} has no files`);
  if (files.length >= FILES) throw new Error(`the folder ${name} has more than ${FILES} files`);
  return { name, archive: zip(files) };
}

/** The part of the page that deploys. `reason`: why the caller may not. */
export function deployArea(reason) {
  const name = element('input', { placeholder: 'name', autocomplete: 'off', size: '20' });
  const steps = element('pre', { tabindex: '0', 'aria-label': 'Steps of the deploy', hidden: true });
  const outcome = element('div', { role: 'status' });
  const folder = element('input', {
    type: 'file',
    webkitdirectory: true,
    hidden: true,
    onchange: () => take(() => chosenFolder(folder.files)),
  });
  const archive = element('input', {
    type: 'file',
    accept: '.zip',
    hidden: true,
    onchange: () => take(() => chosenZip(archive.files[0])),
  });

  async function take(what) {
    try {
      const { name: found, archive: content } = await what();
      await deploy(name.value.trim() || found, content);
    } catch (error) {
      outcome.replaceChildren(notice(error.message));
    }
    folder.value = '';
    archive.value = '';
  }

  async function deploy(id, content) {
    const step = (text) => {
      steps.hidden = false;
      steps.append(`${text}\n`);
      steps.scrollTop = steps.scrollHeight;
    };
    steps.textContent = '';
    outcome.replaceChildren(element('p', { class: 'quiet' }, `deploying ${id} …`));
    const form = new FormData();
    for (const [field, value] of [
      ['id', id],
      ['type', 'application/x-zip-compressed'],
      ['jsons', '[]'],
      ['runners', '[]'],
    ])
      form.append(field, value);
    form.append('raw', content, 'package.zip');
    step(`uploading ${content.size} bytes`);
    await ask('/api/package/create?replace=true', { method: 'POST', body: form });
    let last = '';
    const body = JSON.stringify({
      suffix: id,
      resourceType: 'Package',
      release: '',
      env: [],
      plan: 'Essential',
      version: 'v1',
    });
    await events(
      '/api/deploy/create',
      undefined,
      (text, event) => {
        if (event === 'log') step(text);
        else last = { event, ...JSON.parse(text) };
      },
      { method: 'POST', headers: { 'content-type': 'application/json' }, body },
    );
    if (last.event !== 'deployed') throw new Error(last.error?.message ?? 'the deploy was cut off');
    outcome.replaceChildren(
      element(
        'p',
        {},
        `release #${last.release} of `,
        element('a', { href: `#/deployment/${encodeURIComponent(id)}` }, id),
        ' serves',
      ),
    );
  }

  const area = element(
    'div',
    {
      class: 'drop',
      ondragover: (event) => {
        if (!reason) {
          event.preventDefault();
          area.classList.add('over');
        }
      },
      ondragleave: () => area.classList.remove('over'),
      ondrop: (event) => {
        event.preventDefault();
        area.classList.remove('over');
        if (!reason) take(() => dropped(event.dataTransfer.items));
      },
    },
    element(
      'div',
      { class: 'bar' },
      element('span', { class: 'quiet' }, reason ?? 'Deploy: drop a folder or a zip here, or choose'),
      button('Folder …', () => folder.click(), { reason }),
      button('Zip …', () => archive.click(), { reason }),
      element('label', {}, 'as ', name),
    ),
    outcome,
    steps,
    folder,
    archive,
  );
  return area;
}
