// Masks from the server that this page came from.
"use strict";

const QUALITY = 0.92; // of a frame on its way to the server; PNG takes a browser longer than the network takes
const TRIES = 3; // when the server is busy it says when to come back

async function asked(file, say) {
  for (let left = TRIES; ; left--) {
    const answer = await fetch("api/mask", { method: "POST", body: file, headers: { Accept: "image/png" } });
    if (answer.ok) return answer.blob();
    const again = Number(answer.headers.get("Retry-After"));
    if (!again || left <= 1) throw new Error(await reason(answer));
    say("The server is busy. Trying again …");
    await new Promise((done) => setTimeout(done, 1000 * again));
  }
}

async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

const engine = {
  promise: "Your photograph goes to this server only, which does not keep it.",
  working: "Finding the object …",
  links: [["API", "docs"]],
  runs: "this server",
  note: "",
  /** The mask of a photograph: a bitmap of its size. */
  async mask(file, bitmap, say) {
    let blob;
    try {
      blob = await asked(file, say);
    } catch (error) {
      throw error instanceof TypeError ? new Error("the server does not answer; is u2zoo serve still running?") : error;
    }
    return createImageBitmap(blob, { colorSpaceConversion: "none" });
  },
  /** The mask of a canvas that holds a frame of the camera: a bitmap of its size. */
  async frame(canvas, say) {
    return this.mask(await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY)), canvas, say);
  },
};
