"use strict";

// Forms work without this script. It shows what is wrong with a field once somebody has left it, and
// keeps commands in step with the fields, by asking the service for the page that it would show.

const WAIT = 400;

function keepInStep(form) {
  const touched = new Set();
  let timer = null;
  let asked = 0;

  async function check() {
    const mine = ++asked;
    const query = new URLSearchParams(new FormData(form));
    const response = await fetch(`${form.action}?${query}`, { headers: { Accept: "text/html" } }).catch(() => null);
    // An answer that a later one has overtaken, or another page, such as that of the login.
    if (mine !== asked || !response || !response.ok || response.redirected) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const place of document.querySelectorAll("[data-problem]")) {
      const next = fresh.getElementById(place.id);
      if (!next || !touched.has(place.dataset.problem)) continue;
      if (place.textContent !== next.textContent) place.textContent = next.textContent;
      const control = form.querySelector(`[name="${CSS.escape(place.dataset.problem)}"]`);
      if (control && control.type !== "checkbox") {
        if (next.textContent) control.setAttribute("aria-invalid", "true");
        else control.removeAttribute("aria-invalid");
      }
    }
    const commands = document.getElementById("commands");
    const next = fresh.getElementById("commands");
    if (next && next.innerHTML !== commands.innerHTML) {
      commands.replaceWith(document.adoptNode(next));
      offerCopies(next);
    }
  }

  function soon(event) {
    if (event.target.name) touched.add(event.target.name);
    clearTimeout(timer);
    timer = setTimeout(check, WAIT);
  }

  form.addEventListener("input", soon);
  form.addEventListener("change", soon);
}

// A browser lets pages write to the clipboard over https and on this machine only.
function offerCopies(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    const label = button.innerHTML;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.innerHTML = label; }, 1500);
    });
  }
}

// A form that is sent when the login has ended leads to the page that asks for a key, which leads back
// here. What was typed waits in this window, and nowhere else, until the next page that is shown.
function keepUntilLoggedIn(form) {
  form.addEventListener("submit", () => {
    const query = String(new URLSearchParams(new FormData(form)));
    sessionStorage.setItem(KEPT, JSON.stringify([location.pathname, query]));
  });
}

function fillInAgain() {
  const [path, query] = JSON.parse(sessionStorage.getItem(KEPT) || "[]");
  sessionStorage.removeItem(KEPT);
  const [visit] = performance.getEntriesByType("navigation");
  // Only the login leads here by a redirect; an answer to the form itself is filled in already.
  if (path === location.pathname && visit.redirectCount > 0) location.replace(`${path}?${query}`);
}

for (const form of document.querySelectorAll("form[data-check]")) {
  keepInStep(form);
  keepUntilLoggedIn(form);
}
offerCopies(document);
fillInAgain();
