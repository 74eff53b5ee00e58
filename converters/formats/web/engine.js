// Masks from the model in this folder, in this browser: nothing leaves the machine.
"use strict";

const HEAVY = "page/worker.js";
const RUNTIMES = {
  webgpu: ["runtime/ort.webgpu.bundle.min.mjs", "runtime/ort-wasm-simd-threaded.asyncify.wasm"],
  wasm: ["runtime/ort.wasm.bundle.min.mjs", "runtime/ort-wasm-simd-threaded.wasm"],
};
const clicked = location.protocol === "file:"; // a double-clicked page may load scripts and nothing else

async function bytes(name) {
  let address = name;
  if (clicked) {
    await fromScript(RUNTIMES.webgpu.includes(name) ? "offline-webgpu.js" : "offline.js");
    address = "data:application/octet-stream;base64," + window.offline[name];
  }
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${name}: the web server answered ${answer.status}; check that it has every file of the folder`);
  return answer.arrayBuffer();
}

const loading = {};
function fromScript(name) {
  loading[name] ??= new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: name, onload: done });
    script.onerror = () => failed(new Error("this model is too large to run from a file; serve the folder: python3 serve.py"));
    document.head.append(script);
  });
  return loading[name];
}

/** A worker that has the model: on the graphics card where that gives the network's answer, on the processor elsewhere. */
async function opened(say) {
  say("Loading the model …");
  engine.note = "";
  const wanted = new URLSearchParams(location.search).get("engine"); // for tests, and for the curious
  if (wanted !== "wasm" && (await hasCard(wanted === "webgpu"))) {
    try {
      return await started("webgpu");
    } catch (error) {
      turnedDown(error);
    }
  }
  return onProcessor();
}

/** Whether there is a graphics card to compute on; an adapter that is software itself is slower than wasm. */
async function hasCard(orSoftware) {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter && (orSoftware || !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)));
}

function turnedDown(error) {
  remark(`The graphics card is not used (${firstLine(error)}); the processor is used instead.`);
}

const firstLine = (error) => error.message.split("\n")[0]; // runtimes add where in their own sources it was

function remark(text) {
  engine.note = `${engine.note} ${text}`.trim();
}

/** On the processor: in threads where the page may have them, in one where these do not start. */
async function onProcessor() {
  try {
    return await started("wasm");
  } catch (error) {
    if (!crossOriginIsolated) throw error; // that was one thread
    const found = await started("wasm", true);
    remark(`Several threads do not start (${firstLine(error)}); one thread does the work.`);
    return found;
  }
}

async function started(name, alone = false) {
  const [about, model, heavy, runtime, wasm] = await Promise.all(["model.json", "model.onnx", HEAVY, ...RUNTIMES[name]].map(bytes));
  const thread = new Thread(heavy, name);
  try {
    const told = JSON.parse(new TextDecoder().decode(about));
    const question = { kind: "open", about: told, model, wasm, runtime, engine: name, alone, patience: engine.patience };
    const { threads } = await thread.ask(question, [model, wasm]);
    engine.model = told.name;
    engine.runs = name === "webgpu" ? "WebGPU" : threads > 1 ? `wasm, ${threads} threads` : "wasm, one thread";
    return thread;
  } catch (error) {
    thread.end(error);
    throw error;
  }
}

/** A worker, and the questions that it has not answered: when it ends, they fail. */
class Thread {
  constructor(script, name) {
    Object.assign(this, { name, count: 0, asked: new Map(), ended: null });
    this.worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    this.worker.onmessage = ({ data }) => this.settle(data);
    this.worker.onerror = (event) => this.end(new Error(event.message || "the worker did not start"));
  }

  /** The answer to a question; `moved` are buffers that the worker keeps. */
  ask(question, moved = []) {
    const number = ++this.count;
    return new Promise((done, failed) => {
      this.worker.postMessage({ ...question, number }, moved);
      this.asked.set(number, { done, failed });
    });
  }

  settle({ number, error, ...answer }) {
    const question = this.asked.get(number);
    this.asked.delete(number);
    if (error) question?.failed(new Error(error));
    else question?.done(answer);
  }

  /** Ends the worker; what it has not answered fails with `error`. */
  end(error) {
    this.ended ??= error;
    this.worker.terminate();
    for (const { failed } of this.asked.values()) failed(error);
    this.asked.clear();
  }
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

/** The next photograph tries again, unless another one has begun to. */
function forget(ready) {
  if (engine.ready === ready) engine.ready = null;
}

/** What the worker answers. A card that fails mid-way is given up: all that it was asked, the processor is. */
async function answered(question, say) {
  const ready = (engine.ready ??= opened(say));
  const thread = await ready.catch((error) => {
    forget(ready);
    throw new Error(`the model does not run in this browser: ${error.message}`);
  });
  if (thread.ended) { // while nobody asked it
    forget(ready);
    return answered(question, say);
  }
  say(engine.working);
  try {
    return await thread.ask(question);
  } catch (error) {
    if (thread.name !== "webgpu") {
      if (thread.ended) forget(ready);
      throw new Error(`the model does not run in this browser: ${error.message}`);
    }
    if (engine.ready === ready) {
      turnedDown(error);
      engine.ready = onProcessor();
    }
    thread.end(error);
    return answered(question, say);
  }
}

const engine = {
  promise: "Your photograph stays on this device: the model runs in your browser.",
  working: "Finding the object …",
  links: [],
  model: "",
  runs: "", // what computes
  note: "", // why it is not what it could be
  patience: 20000, // ms that several threads have to start
  ready: null,
  /** The mask of a photograph: a bitmap of its size. */
  async mask(file, bitmap, say) {
    return this.masked({ file, pixels: await coloursOf(file, bitmap) }, bitmap, say);
  },
  /** The mask of a canvas that holds a frame of the camera: a bitmap of its size. */
  async frame(canvas, say) {
    const { width, height } = canvas;
    return this.masked({ pixels: canvas.getContext("2d").getImageData(0, 0, width, height).data }, canvas, say);
  },
  async masked(photograph, { width, height }, say) {
    const { mask } = await answered({ kind: "mask", ...photograph, width, height }, say);
    return createImageBitmap(new ImageData(mask, width, height), { colorSpaceConversion: "none" });
  },
};
