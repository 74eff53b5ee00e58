// The camera: a frame goes to the engine when the one before has its mask, what comes meanwhile is dropped, nothing is kept.
"use strict";

const SIDE = 640; // pixels of a frame's longer side for which a mask is asked; networks of the catalog take 320 to 1024
const EVERY = 1000; // ms between two figures of the rate
const WISHES = { width: { ideal: 1280 }, height: { ideal: 720 } };
// `turn` says which start is the last one: what belongs to an earlier one ends by itself.
const live = { turn: 0, stream: null, id: "", paused: false, wanted: false, small: null, mask: null };
const [whole, less] = [0, 1].map(() => document.createElement("canvas")); // used again: phones have little room for canvases
let working = Promise.resolve(); // the frames of the start before: at most one is ever asked for

const REFUSALS = {
  NotAllowedError: "the camera was refused; allow it for this page in the browser, then start it again",
  NotFoundError: "no camera was found; connect one, then start it again",
  OverconstrainedError: "this camera is no longer connected; start again to use another one",
  NotReadableError: "the camera does not start, perhaps because another program uses it; close that program, then start again",
};
REFUSALS.SecurityError = REFUSALS.NotAllowedError;
REFUSALS.AbortError = REFUSALS.NotReadableError;
const REMOVED = "the camera stopped: it was unplugged, or this page may no longer use it; start it again when it is back";
const INSECURE = "browsers allow the camera only on https pages and on this machine; open this page with https or at http://localhost";

/** Turns the camera on; `id` is one of several, the front one where none is named. */
async function start(id = "") {
  letGo();
  const mine = live.turn;
  turn++; // a photograph that is worked on is given up
  complain("");
  say("Asking for the camera …", true);
  try {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error(INSECURE);
    const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...WISHES, ...(id ? { deviceId: { exact: id } } : { facingMode: "user" }) } });
    if (mine !== live.turn) return stream.getTracks().forEach((track) => track.stop());
    await begin(stream, mine);
  } catch (error) {
    if (mine === live.turn) end(REFUSALS[error.name] ?? error.message);
  }
}

async function begin(stream, mine) {
  const [track] = stream.getVideoTracks();
  const { deviceId, facingMode } = track.getSettings();
  Object.assign(live, { stream, id: deviceId });
  track.addEventListener("ended", () => mine === live.turn && end(REMOVED));
  track.addEventListener("mute", () => mine === live.turn && say("The camera sends no pictures at the moment."));
  track.addEventListener("unmute", () => mine === live.turn && say("The camera is on."));
  if (document.hidden) return pause();
  $("video").srcObject = stream;
  await $("video").play();
  await list();
  if (mine !== live.turn) return;
  Object.assign(shown, { photograph: null, mask: null, name: "camera" });
  $("result").classList.toggle("mirrored", facingMode === "user"); // as people know themselves; pictures are not
  working = working.then(() => film(mine)).catch((error) => mine === live.turn && end(error.message));
}

/** Cameras to choose from, where there are several; browsers tell their names when one was allowed. */
async function list() {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput" && device.deviceId);
  $("camera").replaceChildren(...cameras.map(({ deviceId, label }, i) => new Option(label || `Camera ${i + 1}`, deviceId, false, deviceId === live.id)));
  $("which").hidden = cameras.length < 2;
}

async function film(mine) {
  const rate = { frames: 0, since: performance.now() };
  let first = true;
  const tell = (text) => first && mine === live.turn && say(text, true); // not again for every frame
  while (mine === live.turn) {
    if (!(await arrives($("video"))) || mine !== live.turn) continue;
    const began = performance.now();
    const frame = taken($("video"), Infinity, whole);
    const small = taken(frame, SIDE, less);
    const mask = await engine.frame(small, tell);
    if (mine !== live.turn) return;
    live.mask?.close();
    Object.assign(live, { small, mask });
    if (first) unveil(frame);
    if (frame.width !== $("before").width || frame.height !== $("before").height) place(frame); // the phone was turned
    drawFrame($("after"), frame, mask, backgrounds[chosen()], settings());
    if (first) rate.since = performance.now(); // the model was loaded meanwhile
    else measure(rate, performance.now() - began, frame);
    first = false;
    if (live.wanted) await picture(frame);
  }
}

/** Whether a frame came that was not seen yet; without one it is asked again, for a camera that is off sends none. */
function arrives(video) {
  return new Promise((done) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => done(true));
    else requestAnimationFrame(() => done(video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA));
    setTimeout(done, 250, false);
  });
}

/** `canvas` with what `source` shows, no side longer than `side`. */
function taken(source, side, canvas) {
  const [w, h] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const scale = Math.min(1, side / Math.max(w, h));
  const [width, height] = [w, h].map((length) => Math.max(1, Math.round(length * scale)));
  const context = canvas.getContext("2d", { willReadFrequently: canvas === less }); // before anything else asks for it
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.drawImage(source, 0, 0, width, height);
  return canvas;
}

function unveil(frame) {
  for (const [id, hidden] of [["filming", false], ["done", true]]) $(id).hidden = hidden;
  $("result").classList.add("live");
  $("compare").style.setProperty("--at", "0%");
  place(frame);
  facts({ size: `${frame.width} × ${frame.height}`, model: engine.model, engine: engine.runs });
  describe(chosen());
  say("The camera is on.");
  if (!$("result").contains(document.activeElement)) $("shot").focus({ preventScroll: true });
}

/** The rate, once in a while: it is no live region, and a figure that flickers cannot be read. */
function measure(rate, took, { width, height }) {
  rate.frames++;
  const passed = performance.now() - rate.since;
  if (passed < EVERY) return;
  const figures = { rate: `${((1000 * rate.frames) / passed).toFixed(1)} frames/s`, time: `${took.toFixed(0)} ms` };
  facts({ size: `${width} × ${height}`, model: engine.model, engine: engine.runs, ...figures });
  Object.assign(rate, { frames: 0, since: performance.now() });
}

/** Saves the frame as a photograph would be: with a mask of its own at its full size, and clean colours at the edges. */
async function picture(frame) {
  live.wanted = false;
  say("Taking the picture …", true);
  const still = taken(frame, Infinity, document.createElement("canvas")); // `draw` remembers what it has cut out
  const mask = await engine.mask(await png(still), still, () => {});
  const canvas = document.createElement("canvas");
  draw(canvas, still, mask, backgrounds[chosen()], settings());
  await save(canvas, "camera");
  say("The picture is saved.");
}

/** Lets go of the camera: its light goes off. */
function letGo() {
  live.turn++;
  live.stream?.getTracks().forEach((track) => track.stop());
  $("video").srcObject = null;
  Object.assign(live, { stream: null, paused: false, wanted: false });
}

/** Lets go of it, and of its place on the page. */
function release() {
  letGo();
  if (!$("result").classList.contains("live")) return;
  for (const [id, hidden] of [["filming", true], ["which", true], ["done", false], ["result", true], ["drop", false]]) $(id).hidden = hidden;
  $("result").classList.remove("live", "mirrored");
  $("compare").style.setProperty("--at", $("split").value + "%");
}

function end(why = "") {
  release();
  restart();
  $("start").focus();
  if (why) complain(why);
  else say("The camera is off.");
}

/** Nobody sees a hidden page: the camera is let go of, and comes back with the page. */
function pause() {
  letGo();
  live.paused = true;
  say("Paused while this page is hidden.");
}

$("start").addEventListener("click", () => start());
$("stop").addEventListener("click", () => end());
$("shot").addEventListener("click", () => { live.wanted = true; });
$("camera").addEventListener("change", () => start($("camera").value));
navigator.mediaDevices?.addEventListener("devicechange", () => live.stream && list());
document.addEventListener("visibilitychange", () => {
  if (document.hidden && live.stream) pause();
  else if (!document.hidden && live.paused) start(live.id);
});
addEventListener("pagehide", () => live.stream && pause());
addEventListener("pageshow", () => live.paused && start(live.id));
window.u2zoo.camera = live;
