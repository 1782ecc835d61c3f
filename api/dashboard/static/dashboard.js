"use strict";

// Pages are complete without this script. It tells times in the reader's zone, and keeps what
// changes up to date: progress from events, everything else by reading the page again.

const FINAL = ["succeeded", "failed", "cancelled"];
const PAUSE = 1000;
const LONGEST_PAUSE = 8000;
// What was typed into a form that was sent; see forms.js.
const KEPT = "tightrope-form";

function tellTimes(root) {
  const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const long = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    time.textContent = short.format(moment);
    time.title = long.format(moment);
  }
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const place of root.querySelectorAll("[data-zone]")) place.textContent = `in ${zone}`;
}

function say(text, lost) {
  const place = document.getElementById("connection");
  place.hidden = false;
  place.classList.toggle("lost", lost);
  if (place.textContent !== text) place.textContent = text;
}

// Return whether the page has this job, in the state that the event tells.
function showProgress(job) {
  const shown = document.querySelectorAll(`[data-job="${CSS.escape(job.job_id)}"]`);
  for (const place of shown) {
    const bar = place.querySelector("progress");
    if (bar) {
      bar.max = Math.max(job.progress.total, 1);
      bar.value = job.progress.done;
    }
    place.querySelector("[data-done]").textContent = job.progress.done;
    place.querySelector("[data-total]").textContent = job.progress.total;
  }
  return shown.length > 0 && [...shown].every((place) => place.dataset.state === job.state);
}

// Put what is new of the page in the place of what is old, but not under a reader's hands.
function exchange(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(old.id);
    const held = old.contains(document.activeElement);
    if (!next || held) continue;
    const scrolled = [...old.querySelectorAll(".scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
    tellTimes(next);
    if (next.innerHTML === old.innerHTML) continue;
    old.replaceWith(document.adoptNode(next));
    [...next.querySelectorAll(".scroll")].forEach((box, place) => {
      [box.scrollLeft, box.scrollTop] = scrolled[place] || [0, 0];
    });
  }
}

// Say that nobody is logged in any more; what the page shows stays readable.
function sayLoggedOut() {
  const place = document.getElementById("connection");
  place.hidden = false;
  place.classList.add("lost");
  const again = document.createElement("a");
  again.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
  again.textContent = "log in";
  place.replaceChildren("Logged out: ", again);
}

function follow(followed) {
  let timer = null;
  let pause = PAUSE;
  let over = false;
  let events = null;

  async function readAgain() {
    timer = null;
    const began = performance.now();
    const response = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
    if (response && response.redirected && new URL(response.url).pathname === "/login") {
      over = true;
      events.close();
      sayLoggedOut();
      return;
    }
    if (response && response.ok) {
      exchange(new DOMParser().parseFromString(await response.text(), "text/html"));
      // A large page is read again less often.
      pause = Math.min(Math.max(PAUSE, 10 * (performance.now() - began)), LONGEST_PAUSE);
    }
    if (over) say("Finished", false);
    else if (events.readyState === EventSource.CLOSED) setTimeout(listen, pause);
  }

  const soon = () => (timer ??= setTimeout(readAgain, pause));

  function listen() {
    events = new EventSource("/v1/events");
    events.addEventListener("open", () => {
      say("Live", false);
      // What happened between the page and the stream, or while the stream was lost.
      soon();
    });
    events.addEventListener("error", () => {
      if (over) return;
      say("Connection lost, trying again", true);
      // A browser gives a stream up that was refused; the page tells why, or that it is time again.
      if (events.readyState === EventSource.CLOSED) soon();
    });
    events.addEventListener("job", (event) => {
      const job = JSON.parse(event.data);
      const every = followed === "*";
      if (!every && job.job_id !== followed) return;
      const same = showProgress(job);
      if (!every || !same) soon();
      if (!every && FINAL.includes(job.state)) {
        over = true;
        events.close();
      }
    });
  }

  listen();
}

tellTimes(document);
const followed = document.getElementById("main").dataset.follow;
if (followed && "EventSource" in window) follow(followed);
if (!document.querySelector("form[data-check]")) sessionStorage.removeItem(KEPT);
