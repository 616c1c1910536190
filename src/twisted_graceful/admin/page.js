// Keeps the page live: it is fetched anew every second, and what differs takes the place of what
// was there. All text comes escaped from the server, and the page's policy runs no other script.
"use strict";

const INTERVAL = 1000, PATIENCE = 5000; // milliseconds
let last = Date.now();

function update(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((node, index) => {
    if (index < before.length) update(before[index], node);
    else old.append(document.importNode(node, true));
  });
  before.slice(after.length).forEach((node) => node.remove());
}

function away(text) {
  const element = document.getElementById("away");
  if (element.textContent !== text) element.textContent = text;
  element.hidden = !text;
  document.querySelector("main").classList.toggle("stale", Boolean(text));
}

async function look() {
  try {
    const response = await fetch("./", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!response.ok) throw new Error(response.statusText);
    update(document.querySelector("main"), fresh.querySelector("main"));
    document.title = fresh.title;
    last = Date.now();
    away("");
  } catch {
    const at = new Date(last).toLocaleTimeString();
    away(`✕ The server does not answer. This is how it was at ${at}; asking again every second.`);
    document.title = "No answer: graceful";
    document.getElementById("ready").textContent = "✕ no answer";
    document.getElementById("ready").className = "";
  }
}

async function keepLooking() {
  if (!document.hidden) await look();
  setTimeout(keepLooking, INTERVAL);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
setTimeout(keepLooking, INTERVAL);
