// Masks from the model in this folder, in this browser: nothing leaves the machine.
"use strict";

const HEAVY = "page/worker.js";
const RUNTIME = "runtime/ort.wasm.bundle.min.mjs";
const WASM = "runtime/ort-wasm-simd-threaded.wasm";
const clicked = location.protocol === "file:"; // a double-clicked page may load scripts and nothing else

async function bytes(name) {
  let address = name;
  if (clicked) {
    await fromScript();
    address = "data:application/octet-stream;base64," + window.offline[name];
  }
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${name}: the web server answered ${answer.status}; are all files of the folder there?`);
  return answer.arrayBuffer();
}

let loading = null;
function fromScript() {
  loading ??= new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: "offline.js", onload: done });
    script.onerror = () => failed(new Error("this model is too large to run from a file; serve the folder: python3 -m http.server"));
    document.head.append(script);
  });
  return loading;
}

/** A worker that has the model, and what `model.json` says of it. */
async function opened(say) {
  say("Loading the model …");
  const [about, model, wasm, heavy, runtime] = await Promise.all(["model.json", "model.onnx", WASM, HEAVY, RUNTIME].map(bytes));
  const worker = new Worker(URL.createObjectURL(new Blob([heavy], { type: "text/javascript" })));
  const told = JSON.parse(new TextDecoder().decode(about));
  await ask(worker, { kind: "open", about: told, model, wasm, runtime }, [model, wasm]);
  engine.model = told.name;
  return { worker, about: told };
}

let number = 0;
function ask(worker, message, moved) {
  const mine = ++number;
  return new Promise((done, failed) => {
    const listen = ({ data }) => {
      if (data.number !== mine) return;
      worker.removeEventListener("message", listen);
      if (data.error) failed(new Error(data.error));
      else done(data);
    };
    worker.addEventListener("message", listen);
    worker.addEventListener("error", (event) => failed(new Error(event.message || "the worker did not start")), { once: true });
    worker.postMessage({ ...message, number: mine }, moved);
  });
}

/**
 * The photograph's pixels, RGBA. The network sees the colours without their transparency, as in Python, also those that are
 * hidden by it. A canvas holds colour times alpha and has lost them, so a VideoFrame is asked; a browser that has none of it
 * gives what the canvas has left.
 */
async function coloursOf(file, bitmap) {
  const { width, height } = bitmap;
  const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height).data;
  return (!isOpaque(pixels) && (await hidden(file).catch(() => null))) || pixels;
}

function isOpaque(pixels) {
  for (let i = 3; i < pixels.length; i += 4) if (pixels[i] < 255) return false;
  return true;
}

/** The pixels of a photograph with transparency, RGBA; null where this browser cannot tell. */
async function hidden(file) {
  const how = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const frame = new VideoFrame(await createImageBitmap(file, how), { timestamp: 0 });
  try {
    if (!["RGBA", "BGRA"].includes(frame.format)) return null;
    const pixels = new Uint8ClampedArray(frame.allocationSize());
    const [{ offset, stride }] = await frame.copyTo(pixels);
    if (offset !== 0 || stride !== 4 * frame.codedWidth) return null;
    if (frame.format === "BGRA") for (let i = 0; i < pixels.length; i += 4) [pixels[i], pixels[i + 2]] = [pixels[i + 2], pixels[i]];
    return upright(pixels, frame);
  } finally {
    frame.close();
  }
}

/** A frame's pixels turned clockwise, then mirrored, as it says. */
function upright(pixels, { codedWidth: w, codedHeight: h, rotation = 0, flip = false }) {
  if (!rotation && !flip) return pixels;
  const [width, height] = rotation % 180 ? [h, w] : [w, h];
  const places = { 0: (x, y) => y * w + x, 90: (x, y) => (h - 1 - x) * w + y, 180: (x, y) => (h - y) * w - 1 - x, 270: (x, y) => x * w + w - 1 - y };
  const [from, to] = [new Uint32Array(pixels.buffer), new Uint32Array(w * h)];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) to[y * width + x] = from[places[rotation](flip ? width - 1 - x : x, y)];
  return new Uint8ClampedArray(to.buffer);
}

const engine = {
  promise: "It stays on your device: the model runs in this browser.",
  working: "Finding the object …",
  links: [],
  model: "",
  ready: null,
  /** The mask of a photograph: a bitmap of its size. */
  async mask(file, bitmap, say) {
    this.ready ??= opened(say);
    const { worker } = await this.ready.catch((error) => {
      this.ready = null; // the next photograph tries again
      throw error;
    });
    say(this.working);
    const { width, height } = bitmap;
    const pixels = await coloursOf(file, bitmap);
    const { mask } = await ask(worker, { kind: "mask", file, pixels, width, height }, [pixels.buffer]);
    return createImageBitmap(new ImageData(mask, width, height), { colorSpaceConversion: "none" });
  },
};
