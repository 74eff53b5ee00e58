// The model's own thread: pixels of a photograph in, its mask out, at the photograph's size.
// What is done before and after the model is the profile's, as u2net_zoo/preprocessing.py has it; `about` is model.json.
"use strict";

/**
 * scikit-image's `resize(order=1, mode="constant", anti_aliasing=False)`, which the profile `paper` asks for: linear between
 * pixel centres, zeros beyond the border, values kept within the photograph's own. RGBA in, planes of R, G and B out.
 */
function resized(pixels, width, height, toWidth, toHeight) {
  const columns = taps(width, toWidth);
  const rows = taps(height, toHeight);
  const size = toWidth * toHeight;
  const planes = new Float64Array(3 * size);
  const [low, high] = range(pixels);
  for (let y = 0; y < toHeight; y++) {
    const { at: [above, below], weight: down } = rows[y];
    for (let x = 0; x < toWidth; x++) {
      const { at: [left, right], weight: along } = columns[x];
      for (let c = 0; c < 3; c++) {
        const upper = valueAt(pixels, width, above, left, c) * (1 - along) + valueAt(pixels, width, above, right, c) * along;
        const lower = valueAt(pixels, width, below, left, c) * (1 - along) + valueAt(pixels, width, below, right, c) * along;
        planes[c * size + y * toWidth + x] = Math.min(Math.max(upper * (1 - down) + lower * down, low), high);
      }
    }
  }
  return planes;
}

const valueAt = (pixels, width, row, column, c) => (row < 0 || column < 0 ? 0 : pixels[4 * (row * width + column) + c] / 255);

/** For each of `to` places along an axis: the two pixels around it, -1 for none, and the second one's weight. */
function taps(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const place = ((i + 0.5) * from) / to - 0.5; // half-pixel centres
    const first = Math.floor(place);
    const inside = (n) => (n >= 0 && n < from ? n : -1);
    return { at: [inside(first), inside(first + 1)], weight: place - first };
  });
}

/** Lowest and highest value of the colours, in [0, 1]. */
function range(pixels) {
  let low = 255;
  let high = 0;
  for (let i = 0; i < pixels.length; i++) {
    if (i % 4 === 3) continue;
    if (pixels[i] < low) low = pixels[i];
    if (pixels[i] > high) high = pixels[i];
  }
  return [low / 255, high / 255];
}

/** The network's input from planes in [0, 1]: by the maximum, then by mean and standard deviation of each channel. */
function normalised(planes, about, grey) {
  const size = planes.length / 3;
  const top = about.by_maximum ? Math.max(planes.reduce((a, b) => Math.max(a, b), 0), about.darkest) : 1;
  return Float32Array.from(planes, (value, i) => {
    const channel = grey && about.grey_as_first ? 0 : Math.floor(i / size);
    return (value / top - about.mean[channel]) / about.std[channel];
  });
}

/** Grey levels from d0, in float32 as NumPy has them: min-max, and truncated. */
function levelsOf(d0, about) {
  const f = Math.fround;
  const map = about.invert ? d0.map((value) => 1 - value) : d0;
  const low = about.stretch ? map.reduce((a, b) => Math.min(a, b)) : 0;
  const span = about.stretch ? Math.max(f(map.reduce((a, b) => Math.max(a, b)) - low), f(about.empty)) : 1;
  return Uint8Array.from(map, (value) => Math.trunc(f(f(f(value - low) / span) * 255)));
}

/** Whether a photograph's file is greyscale: a JPEG of one component, a PNG of colour type 0 or 4. */
function isGrey(bytes) {
  if (bytes[0] === 0x89 && bytes[1] === 0x50) return bytes[25] === 0 || bytes[25] === 4;
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return false;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; at += 2 + 256 * bytes[at + 2] + bytes[at + 3]) {
    const kind = bytes[at + 1];
    const frame = kind >= 0xc0 && kind <= 0xcf && kind !== 0xc4 && kind !== 0xc8 && kind !== 0xcc;
    if (frame) return bytes[at + 9] === 1;
  }
  return false;
}

const BITS = 22; // Pillow's fixed point for 8-bit pictures: weights are whole numbers of 2^-22

/** Pillow's BILINEAR, which profiles use for masks: a triangle, as wide as a pixel of the smaller picture, rows first. */
function enlarged(levels, width, height, toWidth, toHeight) {
  const wide = pass(levels, width, height, toWidth, (line, n) => line * width + n);
  return pass(wide, height, toWidth, toHeight, (line, n) => n * toWidth + line, true);
}

function pass(levels, length, lines, to, index, upright = false) {
  const out = new Uint8Array(to * lines);
  const windows = triangles(length, to);
  for (let place = 0; place < to; place++) {
    const { start, weights } = windows[place];
    for (let line = 0; line < lines; line++) {
      let sum = 2 ** (BITS - 1);
      for (let n = 0; n < weights.length; n++) sum += weights[n] * levels[index(line, start + n)];
      out[upright ? place * lines + line : line * to + place] = Math.min(Math.floor(sum / 2 ** BITS), 255);
    }
  }
  return out;
}

/** The window of each of `to` places over `from` pixels: where it starts, and its weights in 2^-22. */
function triangles(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), from);
    const raw = Array.from({ length: end - start }, (_, n) => Math.max(1 - Math.abs((start + n - centre + 0.5) / support), 0));
    const total = raw.reduce((sum, value) => sum + value, 0);
    return { start, weights: raw.map((value) => Math.round((value / total) * 2 ** BITS)) };
  });
}

let model = null;
const blob = (content, type) => URL.createObjectURL(new Blob([content], { type })); // what one thread makes, others may not load

/**
 * Reads the model in `engine`: "webgpu", whose answer is compared with the one that is known, or "wasm". `alone`: in one
 * thread. `patience`: ms that several threads have to start, for a runtime whose threads do not start waits for ever.
 */
async function open({ about, model: file, wasm, runtime, engine, alone, patience }) {
  const ort = await import(blob(runtime, "text/javascript"));
  ort.env.wasm.wasmPaths = { wasm: blob(wasm, "application/wasm") };
  ort.env.logLevel = "error"; // it warns of processors that it does not know
  ort.env.wasm.numThreads = engine === "wasm" && crossOriginIsolated && !alone ? threads() : 1;
  if (ort.env.wasm.numThreads > 1) ort.env.wasm.initTimeout = patience;
  const session = await ort.InferenceSession.create(new Uint8Array(file), { executionProviders: [engine] });
  const run = async (data) => (await session.run({ image: new ort.Tensor("float32", data, [1, 3, about.height, about.width]) })).mask.data;
  model = { about, run, check: engine === "webgpu" };
  if (model.check) {
    watch(await ort.env.webgpu.device);
    compare(await model.run(probe(about)), about);
  }
  return { threads: ort.env.wasm.numThreads };
}

/** A card that is lost leaves what it computes without an end: that run fails in its place, and so do all later ones. */
function watch(device) {
  const { run } = model;
  let lost = null;
  let give = () => {}; // up the run that is computed
  model.run = (data) => lost ? Promise.reject(lost) : new Promise((done, failed) => { give = failed; run(data).then(done, failed); });
  device.lost.then(({ message }) => {
    lost = new Error(`it was lost: ${message || "no reason is given"}`);
    give(lost);
  });
}

/** Half of the logical processors are cores of their own; two at least where there are two. */
function threads() {
  const processors = navigator.hardwareConcurrency || 1;
  return Math.min(processors, Math.max(2, Math.min(8, processors >> 1)));
}

/** A disc on a pattern, as converters/formats/web/probe.py draws it. */
function probe({ width, height }) {
  const data = new Float32Array(3 * width * height);
  for (let c = 0, i = 0; c < 3; c++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const inside = (2 * x - width) ** 2 + (2 * y - height) ** 2 < Math.floor(Math.min(height, width) ** 2 / 4);
        data[i] = ((31 * x + 17 * y + 97 * c) % 256 + 256 * inside) / 128 - 2;
      }
    }
  }
  return data;
}

/** Throws where the means over blocks are not those that the model had when it was converted. */
function compare(mask, { width, height, probe: { block, bound, means } }) {
  const columns = Math.ceil(width / block);
  const sums = new Float64Array(means.length);
  const counts = new Float64Array(means.length);
  mask.forEach((value, i) => {
    const place = Math.floor(Math.floor(i / width) / block) * columns + Math.floor((i % width) / block);
    sums[place] += value;
    counts[place]++;
  });
  const furthest = means.reduce((worst, mean, i) => Math.max(worst, Math.abs(sums[i] / counts[i] - mean)), 0);
  if (!(furthest <= bound)) throw new Error(`its answer is off by ${furthest.toPrecision(2)}; ${bound} is allowed`); // also where it is no number
}

const HEAD = 1 << 18; // bytes of a file in which its kind is said

/** `file`: the photograph's, which tells whether it is grey; none for a frame of the camera. */
async function mask({ file, pixels, width, height }) {
  const { about, run, check } = model;
  const grey = Boolean(file) && isGrey(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
  const planes = normalised(resized(pixels, width, height, about.width, about.height), about, grey);
  const answer = await run(planes);
  if (check && !answer.every(Number.isFinite)) throw new Error("its answer is no number");
  const levels = enlarged(levelsOf(answer, about), about.width, about.height, width, height);
  const picture = new Uint8ClampedArray(4 * width * height);
  const words = new Uint32Array(picture.buffer);
  for (let i = 0; i < words.length; i++) words[i] = 0xff000000 | (levels[i] * 0x010101); // opaque, and grey whatever the byte order
  return { mask: picture };
}

async function answer(question) {
  const { number } = question;
  try {
    const found = await { open, mask }[question.kind](question);
    postMessage({ ...found, number }, found.mask ? [found.mask.buffer] : []);
  } catch (error) {
    postMessage({ number, error: error.message || String(error) });
  }
}

let last = Promise.resolve(); // the end of the question before: of two runs at once neither ends on WebGPU

onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};
