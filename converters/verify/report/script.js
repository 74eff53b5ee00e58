"use strict";
// The line between photograph and mask follows a range input, which brings mouse, touch and keyboard with it.
for (const range of document.querySelectorAll(".compare input")) {
  const move = () => range.parentElement.style.setProperty("--at", range.value + "%");
  range.addEventListener("input", move);
  move();
}
// A tile shows its artifact's mask and difference in the large panels of its photograph.
for (const tile of document.querySelectorAll(".tile")) {
  tile.addEventListener("click", () => {
    const photo = tile.closest(".photo");
    const [mask, difference] = tile.querySelectorAll("img");
    photo.querySelector(".after").src = mask.src;
    photo.querySelector(".large-mask").src = mask.src;
    photo.querySelector(".large-difference").src = difference.src;
    photo.querySelector(".plain").dataset.note = tile.dataset.note;
    for (const name of photo.querySelectorAll(".chosen")) name.textContent = tile.dataset.name;
    for (const other of photo.querySelectorAll(".tile")) other.setAttribute("aria-pressed", String(other === tile));
  });
}
// What is folded away or not yet decoded has to be on paper.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const image of document.images) image.loading = "eager";
});
