// The Express app on its own, with the server that Express starts.
'use strict';

const server = require('../apps/express').listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
