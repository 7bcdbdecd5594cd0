// Functions that the page calls from another origin.
const { setTimeout: pause } = require('timers/promises');
const { request } = require('metagate');

// 64 by 32 points of the colour (30, 90, 200).
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAEAAAAAgCAIAAAAt/+nTAAAAN0lEQVR42u3PQQkAAAgEsEtiMBMbyww+' +
  'hcEKLNXzWgQEBAQEBAQEBAQEBAQEBAQEBAQEBAQErhbZjwCXMiyvUAAAAABJRU5ErkJggg==',
  'base64',
);
let posted = 0;

exports.ticks = async function* ticks(n) {
  for (let tick = 0; tick < n; tick++) {
    yield { tick };
    await pause(150);
  }
};

/** @param {string} title @param {File} picture */
exports.upload = async function upload(title, picture) {
  const bytes = Buffer.from(await picture.arrayBuffer());
  return { title, name: picture.name, type: picture.type, size: picture.size, sum: bytes.reduce((a, b) => a + b, 0) };
};

exports.picture = () => new Response(PNG, { headers: { 'content-type': 'image/png' } });

exports.login = () => Response.json('welcome', {
  headers: { 'set-cookie': 'session=s3cret; Path=/; HttpOnly', 'x-hidden': '1', 'x-shown': '2' },
});

exports.whoami = () => {
  const { headers } = request();
  return { cookie: headers.get('cookie'), authorization: headers.get('authorization'), origin: headers.get('origin') };
};

exports.post = () => ++posted;
exports.posts = () => posted;
