// Preloaded with --require: redirects requests for api.remove.bg to the server under test.
"use strict";
const http = require("http");
const https = require("https");

const original = https.request;
https.request = (options, ...rest) => {
  if (options.host !== "api.remove.bg") return original(options, ...rest);
  const here = { host: "127.0.0.1", hostname: "127.0.0.1", port: process.env.SERVER_PORT };
  return http.request({ ...options, ...here, protocol: "http:", agent: undefined }, ...rest);
};
