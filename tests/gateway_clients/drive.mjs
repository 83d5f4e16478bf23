// Makes the calls of calls.json with stripe-node, and prints what came of each as JSON.
// Arguments: the folder of the library, its address, the key, and `newest` or `older`.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [library, address, key, release] = process.argv.slice(2);
const imported = createRequire(import.meta.url)(library);
const Stripe = imported.default ?? imported;
const { hostname, port, protocol } = new URL(address);
const stripe = new Stripe(key, { host: hostname, port, protocol: protocol.replace(":", ""), maxNetworkRetries: 0, telemetry: false });

const NAMES = { delete: "del" };
const OPTIONS = { version: "apiVersion", account: "stripeAccount", key: "idempotencyKey" };
const HEADERS = ["content-type", "idempotent-replayed", "stripe-should-retry", "stripe-version", "x-billstack-source"];
const kept = {};

const camel = (name) => NAMES[name] ?? name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

function method(path) {
  const parts = path.replace("line_items.list", "list_line_items").split(".").map(camel);
  const last = parts.pop();
  const resource = parts.reduce((found, part) => found[part], stripe);
  return (...given) => resource[last](...given);
}

function filled(value) {
  if (typeof value === "string" && value.startsWith("$")) return kept[value.slice(1)];
  if (Array.isArray(value)) return value.map(filled);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, filled(each)]));
  return value;
}

const at = (value, path) => path.split(".").reduce((found, part) => found?.[part], value);
const shown = (headers) => Object.fromEntries(HEADERS.filter((name) => headers?.[name]).map((name) => [name, headers[name]]));

async function outcome(call) {
  const options = Object.fromEntries(Object.entries(call.options ?? {}).map(([name, value]) => [OPTIONS[name], value]));
  const given = [...filled(call.args ?? []), filled(call.params ?? {}), ...(call.options ? [options] : [])];
  try {
    const asked = method(call.do)(...given);
    if (call.all) return { value: await asked.autoPagingToArray({ limit: call.all }) };
    const value = await asked;
    return { value, status: value.lastResponse.statusCode, headers: shown(value.lastResponse.headers) };
  } catch (error) {
    if (!error.statusCode) throw error;
    const { type, code, param, message, statusCode } = error;
    const { headers, requestId, ...raw } = error.raw;
    return { error: { type, code, param, message, raw }, status: statusCode, headers: shown(headers) };
  }
}

const found = [];
for (const call of JSON.parse(readFileSync(new URL("calls.json", import.meta.url)))) {
  if (call.only && call.only !== release) continue;
  const came = JSON.parse(JSON.stringify(await outcome(call)));
  for (const [name, path] of Object.entries(call.keep ?? {})) kept[name] = at(came.value, path);
  found.push({ call, ...came });
}
process.stdout.write(JSON.stringify(found));
