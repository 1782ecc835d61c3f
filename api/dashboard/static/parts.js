"use strict";

// Sends forms in place. A form works without this script too: its answer is a whole page, of which
// this takes over the parts that the form names. Files may be dropped on a form that takes one.

const UNITS = ["bytes", "kB", "MB", "GB"];

function inUnits(bytes) {
  let power = 0;
  let left = bytes;
  while (left >= 1000 && power < UNITS.length - 1) {
    left /= 1000;
    power += 1;
  }
  return `${power ? left.toFixed(1) : left} ${UNITS[power]}`;
}

function takeOver(form, page) {
  const taken = form.dataset.part.split(" ").map((id) => {
    const [old, next] = [document.getElementById(id), page.getElementById(id)];
    if (!old || !next) return null;
    tellTimes(next);
    old.replaceWith(document.adoptNode(next));
    return next;
  });
  if (!taken[0]) return false;
  prepare(taken[0]);
  taken[0].focus();
  return true;
}

function send(form) {
  const note = form.querySelector("[data-note]");
  const bar = form.querySelector("progress");
  const button = form.querySelector("button");
  const request = new XMLHttpRequest();
  // One try at a time; what is focused stays where it is.
  if (form.getAttribute("aria-busy") === "true") return;
  const file = form.querySelector("input[type=file]");
  const most = Number(form.dataset.most);
  if (file && most && file.files.length && file.files[0].size > most) {
    note.textContent = `The file has ${inUnits(file.files[0].size)}; at most ${inUnits(most)} are taken.`;
    return;
  }
  form.setAttribute("aria-busy", "true");
  button.setAttribute("aria-disabled", "true");
  const over = (text) => {
    form.removeAttribute("aria-busy");
    button.removeAttribute("aria-disabled");
    if (bar) bar.hidden = true;
    note.textContent = text;
  };
  note.textContent = form.dataset.wait;
  if (bar) {
    bar.hidden = false;
    request.upload.addEventListener("progress", (event) => {
      bar.max = event.total;
      bar.value = event.loaded;
      note.textContent = `Sending: ${inUnits(event.loaded)} of ${inUnits(event.total)}`;
    });
    request.upload.addEventListener("load", () => {
      // How far the service is, it does not say.
      bar.removeAttribute("value");
      note.textContent = form.dataset.wait;
    });
  }
  request.addEventListener("error", () => over("The service did not answer. Try again."));
  request.addEventListener("load", () => {
    const page = request.response;
    if (new URL(request.responseURL).pathname === "/login") location.reload();
    else if (!page || !takeOver(form, page)) {
      const told = page && page.querySelector("header .lead");
      over(told ? told.textContent : "The service answered with what this page does not expect.");
    }
  });
  request.open("POST", form.action);
  request.responseType = "document";
  request.setRequestHeader("Accept", "text/html");
  request.send(new FormData(form));
}

function takeDrops(form) {
  const field = form.querySelector("input[type=file]");
  if (!field) return;
  const mark = (over) => form.classList.toggle("over", over);
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  form.addEventListener("dragleave", (event) => {
    if (!form.contains(event.relatedTarget)) mark(false);
  });
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    const files = event.dataTransfer.files;
    if (files.length !== 1) {
      form.querySelector("[data-note]").textContent = "One file at a time, please.";
      return;
    }
    field.files = files;
    send(form);
  });
}

function prepare(root) {
  for (const form of root.querySelectorAll("form[data-part]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(form);
    });
    takeDrops(form);
  }
}

prepare(document);
// A file that misses the form would take the place of the page.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => event.preventDefault());
}
