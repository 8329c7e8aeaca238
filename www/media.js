// Shows what of the video is buffered and where it can be seeked to.

const video = document.querySelector("video");

function toPairs(ranges) {
  return Array.from({ length: ranges.length }, (_, i) => [ranges.start(i), ranges.end(i)]);
}

function percent(seconds) {
  return `${(100 * seconds) / video.duration}%`;
}

function stripe(name, left, width) {
  const node = document.createElement(name);
  Object.assign(node.style, { left, width });
  return node;
}

function show(id, ranges) {
  const pairs = toPairs(ranges);
  const stripes = pairs.map(([start, end]) =>
    stripe("i", percent(start), percent(end - start)));
  document.getElementById(`${id}-bar`).replaceChildren(
    ...stripes, stripe("b", percent(video.currentTime), ""));
  document.getElementById(id).textContent = pairs
    .map(([start, end]) => `${start.toFixed(1)} to ${end.toFixed(1)} s`)
    .join(", ") || "nothing";
}

function update() {
  if (!video.duration) return;
  show("buffered", video.buffered);
  show("seekable", video.seekable);
}

for (const event of ["loadedmetadata", "progress", "timeupdate", "seeking", "seeked"]) {
  video.addEventListener(event, update);
}

document.getElementById("jumps").addEventListener("click", ({ target }) => {
  if (target.dataset.second) video.currentTime = Number(target.dataset.second);
});

update();
