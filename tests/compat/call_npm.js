// One call of the npm package: node call_npm.js FUNCTION '{"options"}'; prints its result or its errors.
"use strict";
const client = require("remove.bg");

const [name, options] = process.argv.slice(2);
client[name](JSON.parse(options)).then(
  (result) => console.log(JSON.stringify({ result })),
  (errors) => console.log(JSON.stringify({ errors })),
);
