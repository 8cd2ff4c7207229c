// Keys, the summary as it is made, and older rows as they come into view. Every page works without.
"use strict";

const list = document.getElementById("list");
const keys = document.getElementById("keys");
let chosen = -1;

const entries = () => [...(list ? list.querySelectorAll("a.entry") : [])];

function choose(step) {
  const all = entries();
  if (!all.length) return false;
  chosen = Math.max(0, Math.min(all.length - 1, chosen + step));
  all[chosen].focus();
  return true;
}

function follow(relation) {
  const link = document.querySelector(`main a[rel=${relation}]`);
  if (link) link.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const actions = {
    j: () => choose(1) || follow("next"),
    k: () => choose(-1) || follow("prev"),
    u: () => follow("up"),
    "/": () => document.getElementById("search")?.focus(),
    "?": () => keys.showModal(),
  };
  if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
});

document.addEventListener("focusin", (event) => {
  const at = entries().indexOf(event.target);
  if (at >= 0) chosen = at;
});

async function part(address) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

async function again() {
  const old = document.getElementById("summary");
  if (!old || !old.dataset.again) return;
  const found = await part("/summary");
  const fresh = found && found.getElementById("summary");
  if (fresh) old.replaceWith(document.importNode(fresh, true));
  setTimeout(again, 700);
}
setTimeout(again, 400);

const watcher = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (isIntersecting) older(target);
  }
}, { rootMargin: "600px" });

async function older(link) {
  watcher.unobserve(link);
  const found = await part(link.dataset.rows);
  if (!found) return;
  link.closest("li").remove();
  list.append(...[...found.body.children].map((row) => document.importNode(row, true)));
  watch();
}

function watch() {
  const link = list && list.querySelector("a.next[data-rows]");
  if (link) watcher.observe(link);
}
watch();
