// The Node function behind Node's own `http` server: JSON body in, its values as arguments, JSON out. No routing, no
// checks: less than any real service does, so that the comparison favours the peer.
'use strict';

const http = require('node:http');
const { sum } = require('../functions/node');

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    const answer = JSON.stringify(sum(...Object.values(JSON.parse(body))));
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(answer),
    });
    response.end(answer);
  });
});

server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
