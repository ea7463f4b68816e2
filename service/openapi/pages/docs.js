"use strict";
// Lists the operations of openapi.json and lets the reader send their examples. No libraries, nothing from elsewhere.

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function withKey(headers) {
  const key = document.getElementById("key").value;
  return key ? { ...headers, Authorization: "Bearer " + key } : headers;
}

async function send(verb, path, body, answer) {
  const headers = withKey(body === null ? {} : { "Content-Type": "application/json" });
  const started = performance.now();
  try {
    const response = await fetch(path.replace(/^\//, ""), { method: verb.toUpperCase(), headers, body });
    const text = await response.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is text */ }
    answer.textContent = `${response.status} in ${Math.round(performance.now() - started)} ms\n\n${shown}`;
  } catch (error) {
    answer.textContent = String(error);
  }
}

function resolved(schema, document_) {
  return schema && schema.$ref ? document_.components.schemas[schema.$ref.split("/").pop()] : schema;
}

function operation(path, verb, content, whole) {
  const box = element("details", {}, element("summary", {}, element("span", { className: "verb", textContent: verb.toUpperCase() }), " ",
    element("code", { textContent: path })), element("p", { textContent: content.summary || "" }));
  const answer = element("pre", { textContent: "" });
  const inputs = (content.parameters || []).map((parameter) => {
    const choice = element("select", { name: parameter.name });
    (parameter.schema.enum || []).forEach((value) => choice.append(element("option", { textContent: value })));
    box.append(element("label", {}, parameter.name + " ", choice, " "));
    return choice;
  });
  const json = content.requestBody && content.requestBody.content["application/json"];
  const body = json ? element("textarea", { value: JSON.stringify(json.example || {}, null, 2), spellcheck: false }) : null;
  if (json) {
    const shape = element("pre", { textContent: JSON.stringify(resolved(json.schema, whole), null, 2) });
    box.append(body, element("details", {}, element("summary", { textContent: "schema" }), shape));
  }
  const go = element("button", { textContent: "Send", onclick: () => {
    const filled = inputs.reduce((text, choice) => text.replace(`{${choice.name}}`, encodeURIComponent(choice.value)), path);
    return send(verb, filled, body ? body.value : null, answer);
  } });
  box.append(element("p", {}, go), answer);
  return box;
}

async function show() {
  const place = document.getElementById("operations");
  const answer = await fetch("openapi.json", { headers: withKey({}) });
  const whole = await answer.json();
  if (!answer.ok) {
    const wanted = answer.status === 401 || answer.status === 403 ? "Enter a key with the scope read above. " : "";
    place.replaceChildren(element("p", { textContent: wanted + whole.error }));
    return;
  }
  const boxes = Object.entries(whole.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, content]) => operation(path, verb, content, whole)));
  place.replaceChildren(...boxes);
}

function start() {
  show().catch((error) => { document.getElementById("operations").textContent = String(error); });
}

document.getElementById("key").addEventListener("change", start);
start();
