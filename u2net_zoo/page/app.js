// The page: a photograph comes in, its mask is asked for, and what is shown is drawn from the two.
// Where masks come from is engine.js's business: from the server, or from a model in this browser. Plain scripts and no
// modules: browsers load no module from a file that was double-clicked.
"use strict";

const $ = (id) => document.getElementById(id);
const MOST = 40e6; // pixels; beyond that browsers silently make empty canvases
const COLOURS = { white: "#ffffff", black: "#000000", blue: "#2f6fed", green: "#18a058", yellow: "#f2c230", red: "#d9453d" };
const RESULTS = { cutout: "Cut-out", mask: "Mask", colour: "Object on a colour", blur: "Object on a blurred background", picture: "Object on a picture" };
const shown = { photograph: null, mask: null, name: "photograph", picture: null };
let turn = 0; // a photograph that comes while another is worked on takes its place

$("promise").textContent = engine.promise;
for (const [text, address] of engine.links) $("links").append(Object.assign(document.createElement("a"), { textContent: text, href: address }));
$("links").hidden = !engine.links.length;
for (const [name, colour] of Object.entries(COLOURS)) {
  const button = Object.assign(document.createElement("button"), { type: "button", value: colour, title: name });
  button.setAttribute("aria-label", name);
  button.style.background = colour;
  button.addEventListener("click", () => { $("colour").value = colour; show(); });
  $("swatches").append(button);
}

if (!blurs) document.querySelector("input[value=blur]").parentElement.remove(); // the sharp photograph would stand there

const chosen = () => document.querySelector("input[name=show]:checked").value;

function say(text, busy = false) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
}

function complain(text) {
  say("");
  $("error").textContent = text.charAt(0).toUpperCase() + text.slice(1);
}

async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error(`this browser cannot read ${file.name || "what was pasted"} as a photograph; choose a JPEG, PNG or WebP file`);
  }
  if (bitmap.width * bitmap.height > MOST) throw new Error(`${bitmap.width} × ${bitmap.height} pixels: this page takes ${MOST / 1e6} megapixels at most; choose a smaller photograph, or use the command u2zoo cutout`);
  return bitmap;
}

async function take(file) {
  if (!file) return;
  const mine = ++turn;
  release(); // the camera, if it is on
  complain("");
  say("Reading the photograph …", true);
  try {
    const bitmap = await decoded(file);
    say(engine.working, true);
    let start = performance.now();
    const mask = await engine.mask(file, bitmap, (text) => {
      start = performance.now(); // the time of the picture, not of what came before it, as loading the model
      if (mine === turn) say(text, true);
    });
    if (mine !== turn) return;
    if (mask.width !== bitmap.width || mask.height !== bitmap.height) throw new Error("this browser ignores how the photograph is turned; save it as JPEG and choose that");
    Object.assign(shown, { photograph: bitmap, mask, name: (file.name || "photograph").replace(/\.[^.]*$/, "") });
    facts({ size: `${bitmap.width} × ${bitmap.height}`, model: engine.model, engine: engine.runs, time: `${((performance.now() - start) / 1000).toFixed(1)} s` });
    place(bitmap);
    show();
    say("The result is ready.");
    $("split").focus({ preventScroll: true });
  } catch (error) {
    if (mine === turn) complain(error.message || String(error));
  }
}

/** Makes room for a photograph, or for a camera's frames, and shows what `show` draws there. */
function place(picture) {
  $("drop").hidden = true;
  $("result").hidden = false;
  fit($("before"), picture);
  $("compare").style.setProperty("--ratio", picture.width / picture.height);
  $("compare").style.setProperty("--width", picture.width);
}

function facts(values) {
  if ($("note").textContent !== engine.note) $("note").textContent = engine.note; // said once
  $("facts").replaceChildren(...Object.entries(values).filter(([, value]) => value).flatMap(([key, value]) => [
    Object.assign(document.createElement("dt"), { textContent: key }), Object.assign(document.createElement("dd"), { textContent: value })]));
}

function describe(what) {
  $("before").setAttribute("aria-label", `Original: ${shown.name}`);
  $("after").setAttribute("aria-label", `${RESULTS[what]}: ${shown.name}`);
  for (const button of $("swatches").children) button.setAttribute("aria-pressed", String(button.value === $("colour").value));
}

const settings = () => ({ colour: $("colour").value, blur: Number($("blur").value), picture: shown.picture });

function show() {
  const what = chosen();
  for (const option of document.querySelectorAll(".option[data-for]")) option.hidden = option.dataset.for !== what;
  describe(what);
  if (!shown.photograph) return;
  draw($("after"), shown.photograph, shown.mask, backgrounds[what], settings());
}

const png = (canvas) => new Promise((done) => canvas.toBlob(done, "image/png"));

async function save(canvas, name) {
  const blob = await png(canvas);
  if (!blob) throw new Error("this browser cannot write a picture of this size; choose a smaller photograph");
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${name}-${chosen()}.png` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return link.download;
}

function split() {
  $("compare").style.setProperty("--at", $("split").value + "%");
  $("split").setAttribute("aria-valuetext", $("split").value + " % photograph");
}

function restart() {
  turn++;
  complain("");
  $("result").hidden = true;
  $("drop").hidden = false;
  $("file").value = "";
  $("file").focus();
}

$("file").addEventListener("change", () => {
  take($("file").files[0]);
  $("file").value = ""; // the same file once more is a choice too
});
$("split").addEventListener("input", split);
$("download").addEventListener("click", () => save($("after"), shown.name).then((name) => say(`The download of ${name} has started.`), (error) => complain(error.message)));
$("again").addEventListener("click", restart);
for (const radio of document.querySelectorAll("input[name=show]")) radio.addEventListener("change", show);
$("colour").addEventListener("input", show);
$("blur").addEventListener("input", show);
$("background").addEventListener("change", async () => {
  const [file] = $("background").files;
  if (!file) return; // the dialog was left without a choice
  $("background").value = "";
  try {
    shown.picture = await decoded(file);
    complain("");
    show();
  } catch (error) {
    complain(error.message);
  }
});
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => take([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
split();
show();
// For tests, and for the curious: the mask's grey levels as the page has them.
window.u2zoo = { take, mask: () => pixelsOf(shown.mask) };
