// An Express app that adds two numbers of a JSON body.
'use strict';

const express = require('express');

const app = express();
app.disable('x-powered-by');
app.set('etag', false);
app.use(express.json());
app.post('/sum', ({ body }, response) => response.json(body.a + body.b));

module.exports = app;
