
"use strict";
// Draws the OpenAPI document and sends requests. Text goes into the page as text only.
const METHODS = ["get", "post", "put", "patch", "delete"];
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
// Words between backticks are code: all the markup that descriptions have.
const prose = (text) => (text || "").split("`").map((part, place) => (place % 2 ? element("code", {}, part) : part));
const byId = (id) => document.getElementById(id);

const headers = () => {
  const token = byId("token").value.trim();
  return token ? { Authorization: `Bearer ${token}` } : {};
};

// A schema without references, as deep as an example needs it.
const resolved = (spec, schema) => {
  let found = schema;
  while (found && found.$ref) {
    found = found.$ref.slice(2).split("/").reduce((value, key) => value && value[key.replace("~1", "/")], spec);
  }
  return found || {};
};

// What a value of a schema may look like: its own example, or one made of its parts.
const example = (spec, schema, depth = 0) => {
  const found = resolved(spec, schema);
  if (found.example !== undefined) return found.example;
  if (found.examples && found.examples.length) return found.examples[0];
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  if (depth > 6) return null;
  const parts = found.allOf || found.oneOf || found.anyOf;
  if (found.properties) {
    const required = found.required || [];
    const names = Object.keys(found.properties).filter((name) => required.includes(name) || depth === 0);
    return Object.fromEntries(names.map((name) => [name, example(spec, found.properties[name], depth + 1)]));
  }
  if (parts) {
    const part = parts.find((one) => resolved(spec, one).type !== "null") || parts[0];
    return example(spec, part, depth + 1);
  }
  const type = Array.isArray(found.type) ? found.type.find((one) => one !== "null") : found.type;
  if (type === "array") return [example(spec, found.items, depth + 1)];
  return { string: "", integer: 0, number: 0, boolean: false, object: {} }[type] ?? null;
};

const field = (label, input, note) => {
  input.id = `field-${field.count = (field.count || 0) + 1}`;
  const name = element("label", { htmlFor: input.id }, label);
  const parts = [name, input];
  if (note) parts.push(element("span", { className: "note" }, ...prose(note)));
  return element("div", { className: "field" }, ...parts);
};

const parameterInput = (parameter) => {
  const input = element("input", { type: "text", spellcheck: false, placeholder: String(parameter.example ?? "") });
  input.required = Boolean(parameter.required);
  return input;
};

const shown = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

const LENGTH_MAX = 200000;

const send = async (method, path, inputs, body, output) => {
  let url = path;
  const query = new URLSearchParams();
  const sent = headers();
  for (const [parameter, input] of inputs) {
    const value = input.value.trim();
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value && parameter.in === "query") query.append(parameter.name, value);
    else if (value && parameter.in === "header") sent[parameter.name] = value;
  }
  if ([...query].length) url += `?${query}`;
  const options = { method: method.toUpperCase(), headers: sent, credentials: "same-origin", cache: "no-store" };
  if (body) {
    sent["Content-Type"] = "application/json";
    options.body = body.value;
  }
  output.replaceChildren(element("p", {}, "Sending…"));
  const started = performance.now();
  try {
    const answer = await fetch(url, options);
    if ((answer.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
      output.replaceChildren(element("p", {}, `${answer.status}: a stream; read it with curl -N ${url}`));
      await answer.body.cancel();
      return;
    }
    const text = await answer.text();
    const took = Math.round(performance.now() - started);
    const status = element("strong", { className: answer.ok ? "good" : "bad" }, `${answer.status} ${answer.statusText}`);
    const head = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    output.replaceChildren(
      element("p", {}, `${options.method} ${url} — `, status, ` in ${took} ms`),
      element("pre", { tabIndex: 0 }, head),
      element("pre", { tabIndex: 0 }, shown(text).slice(0, LENGTH_MAX)),
    );
  } catch (error) {
    output.replaceChildren(element("p", { className: "bad" }, `The request was not answered: ${error.message}`));
  }
};

const answers = (spec, operation) => {
  const rows = Object.entries(operation.responses || {}).map(([status, answer]) => {
    const description = resolved(spec, answer).description || "";
    return element("tr", {}, element("td", {}, status), element("td", {}, ...prose(description)));
  });
  const head = element("tr", {}, element("th", { scope: "col" }, "Status"), element("th", { scope: "col" }, "Meaning"));
  return element("div", { className: "wide" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
};

const fill = (spec, path, method, operation, inside) => {
  const form = element("form", { autocomplete: "off" });
  const inputs = (operation.parameters || []).map((given) => {
    const parameter = resolved(spec, given);
    const input = parameterInput(parameter);
    form.append(field(`${parameter.name} (${parameter.in})`, input, parameter.description));
    return [parameter, input];
  });
  let body = null;
  const content = operation.requestBody && resolved(spec, operation.requestBody).content;
  if (content && content["application/json"]) {
    const media = content["application/json"];
    const value = media.example ?? example(spec, media.schema);
    body = element("textarea", { spellcheck: false, value: JSON.stringify(value, null, 2) });
    form.append(field("Body (JSON)", body));
  }
  const output = element("div", { role: "status" });
  form.append(element("button", { type: "submit" }, `Send ${method.toUpperCase()}`), output);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, inputs, body, output);
  });
  const about = operation.description ? [element("p", {}, ...prose(operation.description))] : [];
  inside.append(...about, form, element("h3", {}, "Answers"), answers(spec, operation));
};

const route = (spec, path, method, operation) => {
  const summary = element(
    "summary",
    {},
    element("span", { className: "method" }, method.toUpperCase()),
    element("span", { className: "path" }, path),
    element("span", { className: "brief" }, ...prose(operation.summary)),
    element("span", { className: "role" }, operation["x-storelab-role"] || ""),
  );
  const inside = element("div", { className: "inside" });
  const details = element("details", { id: operation.operationId }, summary, inside);
  details.dataset.text = `${method} ${path} ${operation.summary || ""} ${operation.operationId}`.toLowerCase();
  details.addEventListener("toggle", () => {
    if (details.open && !inside.hasChildNodes()) fill(spec, path, method, operation, inside);
  });
  return details;
};

const draw = (spec) => {
  byId("about").replaceChildren(...prose(spec.info.description));
  const groups = new Map((spec.tags || []).map((tag) => [tag.name, { tag, routes: [] }]));
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const group = groups.get((item[method].tags || [])[0]);
      if (group) group.routes.push(route(spec, path, method, item[method]));
    }
  }
  const sections = [...groups.values()].map(({ tag, routes }) =>
    element("section", {}, element("h2", { id: `tag-${tag.name}` }, tag.name), element("p", { className: "note" }, ...prose(tag.description)), ...routes),
  );
  byId("routes").replaceChildren(...sections);
};

const find = () => {
  const wanted = byId("find").value.trim().toLowerCase();
  for (const section of byId("routes").children) {
    const routes = [...section.querySelectorAll("details")];
    for (const one of routes) one.hidden = !one.dataset.text.includes(wanted);
    section.hidden = routes.every((one) => one.hidden);
  }
};

const read = async () => {
  const state = byId("state");
  try {
    const answer = await fetch("/openapi.json", { headers: headers(), credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.status === 401 ? "give a token above" : `the service says ${answer.status}`);
    draw(await answer.json());
    state.textContent = "";
    find();
  } catch (error) {
    state.textContent = `The document cannot be read: ${error.message}.`;
  }
};

for (const cell of document.querySelectorAll("tr[id^=problem-] td:nth-child(n+3)")) cell.replaceChildren(...prose(cell.textContent));
byId("access").addEventListener("submit", (event) => event.preventDefault());
byId("token").addEventListener("change", read);
byId("find").addEventListener("input", find);
read();
