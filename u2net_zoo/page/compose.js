// What is drawn: the photograph through its mask, over a background. All of it at the photograph's own size.
"use strict";

/** Gives `canvas` the bitmap's size and content. */
function fit(canvas, bitmap) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
}

/** A canvas of the bitmap's content whose pixels are read: [context, its pixels]. */
function readable(bitmap) {
  const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return [context, context.getImageData(0, 0, bitmap.width, bitmap.height)];
}

/** Grey levels of a mask as an array, row by row. */
function pixelsOf(mask) {
  return readable(mask)[1].data.filter((_, i) => i % 4 === 0);
}

/** Whether this browser's canvas can blur. */
const blurs = "filter" in CanvasRenderingContext2D.prototype;

/** What can stand behind the object; null: the mask itself is shown. Each paints (context, photograph, settings). */
const backgrounds = {
  cutout: () => {},
  mask: null,
  colour: (context, _, { colour }) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  },
  blur: (context, photograph, { blur }) => {
    const { width, height } = context.canvas;
    const radius = (blur / 1000) * Math.max(width, height);
    context.drawImage(photograph, 0, 0); // the blur makes its own borders transparent
    context.filter = `blur(${radius}px)`;
    context.drawImage(photograph, -2 * radius, -2 * radius, width + 4 * radius, height + 4 * radius);
    context.filter = "none";
  },
  picture: (context, _, { picture }) => {
    if (!picture) return;
    const { width, height } = context.canvas;
    const scale = Math.max(width / picture.width, height / picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
  },
};

/** Draws what is chosen into `canvas`. The mask is a bitmap of the photograph's size, in grey levels. */
function draw(canvas, photograph, mask, background, settings) {
  if (!background) return fit(canvas, mask);
  canvas.width = photograph.width;
  canvas.height = photograph.height;
  const context = canvas.getContext("2d");
  background(context, photograph, settings);
  context.drawImage(objectOf(photograph, mask), 0, 0);
}

const [object, veil] = [0, 1].map(() => document.createElement("canvas")); // used again for every frame

/** As `draw`, at a camera's rate: the edges keep the colours that they have. The mask may be smaller than the frame. */
function drawFrame(canvas, frame, mask, background, settings) {
  const { width, height } = frame;
  const context = cleared(canvas, width, height);
  if (!background) return context.drawImage(mask, 0, 0, width, height);
  background(context, frame, settings);
  const [, pixels] = readable(mask);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i];
  cleared(veil, mask.width, mask.height).putImageData(pixels, 0, 0);
  const inside = cleared(object, width, height);
  inside.drawImage(frame, 0, 0);
  inside.globalCompositeOperation = "destination-in";
  inside.drawImage(veil, 0, 0, width, height);
  inside.globalCompositeOperation = "source-over";
  context.drawImage(object, 0, 0);
}

/** The canvas's context, the canvas empty and of this size. */
function cleared(canvas, width, height) {
  const context = canvas.getContext("2d");
  if (canvas.width === width && canvas.height === height) context.clearRect(0, 0, width, height);
  else Object.assign(canvas, { width, height });
  return context;
}

const cut = new WeakMap(); // photograph -> its cut-out: every background needs the same one

function objectOf(photograph, mask) {
  if (!cut.has(photograph)) cut.set(photograph, cutOut(photograph, mask));
  return cut.get(photograph);
}

/**
 * The photograph with the mask as its alpha, and with the old background taken out of the colours at the edges, which would
 * be a halo before a new one: F = F' + a (I - a F' - (1 - a) B'), where F' and B' are the blurred colours of the object and
 * of what surrounds it (Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021). A browser whose canvas cannot blur
 * leaves the photograph's own colours: F' = B' = I gives F = I.
 */
function cutOut(photograph, mask) {
  const [context, pixels] = readable(photograph);
  const levels = readable(mask)[1].data;
  const near = blurred(pixels, (i) => levels[i]);
  const around = blurred(pixels, (i) => 255 - levels[i]);
  for (let i = 0; i < levels.length; i += 4) {
    const alpha = levels[i] / 255;
    for (let c = i; c < i + 3 && alpha > 0 && alpha < 1 && near[i + 3] && around[i + 3]; c++) {
      pixels.data[c] = near[c] + alpha * (pixels.data[c] - alpha * near[c] - (1 - alpha) * around[c]); // clamped to 0..255
    }
    pixels.data[i + 3] = (pixels.data[i + 3] * levels[i] + 127) / 255;
  }
  context.putImageData(pixels, 0, 0);
  return context.canvas;
}

/** The colours of the pixels, blurred by their weight (0..255): a canvas blurs colour times alpha, and divides again. */
function blurred(pixels, weight) {
  const { width, height } = pixels;
  const weighted = new ImageData(new Uint8ClampedArray(pixels.data), width, height);
  for (let i = 0; i < weighted.data.length; i += 4) weighted.data[i + 3] = weight(i);
  const [from, to] = [0, 1].map(() => Object.assign(document.createElement("canvas"), { width, height }).getContext("2d", { willReadFrequently: true }));
  from.putImageData(weighted, 0, 0);
  to.filter = `blur(${Math.max(width, height) / 100}px)`;
  to.drawImage(from.canvas, 0, 0);
  return to.getImageData(0, 0, width, height).data;
}
