// One picture, or the camera's, to the server; its faces onto a canvas and into a list.
const of = (id) => document.getElementById(id);
const [stage, canvas, video, status, camera] = ["stage", "canvas", "video", "status", "camera"].map(of);
const LONGEST = 640; // pixels of a camera's picture: more of them find no more faces at arm's length
const PATIENCE = 5; // failures in a row after which the camera stops, a second apart
const WIDEST = 2048; // pixels of the canvas: some browsers draw nothing on one of more than 16 million
let stream = null;
let limit = Infinity;
let shown = null; // the last picture that was chosen, to ask again when the option changes

const colour = (expression) => getComputedStyle(document.documentElement).getPropertyValue(`--of-${expression}`).trim();
// What is read on a colour: by the brightness that the eye sees (ITU-R BT.601).
const inkOn = (ground) => {
  const [red, green, blue] = ground.match(/\d+/g) ?? [255, 255, 255];
  return 0.299 * red + 0.587 * green + 0.114 * blue > 128 ? "#101318" : "#fff";
};
const percent = (share) => `${Math.round(100 * share)}%`;

function say(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

async function asked(picture) {
  if (picture.size > limit) throw new Error(`A picture may have ${limit / 1e6} MB; this one has ${Math.ceil(picture.size / 1e6)}.`);
  const crop = of("whole").checked ? "whole" : "face";
  const response = await fetch(`faces?crop=${crop}`, { method: "POST", body: picture, headers: { "content-type": "application/octet-stream" } });
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function draw(image, answer) {
  const scale = Math.min(1, WIDEST / Math.max(answer.width, answer.height));
  [canvas.width, canvas.height] = [Math.round(answer.width * scale), Math.round(answer.height * scale)];
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.drawImage(image, 0, 0, answer.width, answer.height);
  const unit = Math.max(1, Math.min(answer.width, answer.height) / 400);
  pen.font = `600 ${15 * unit}px system-ui, sans-serif`;
  answer.faces.forEach((face, number) => {
    const [x, y, width, height] = face.box;
    const name = `${number + 1} ${face.expression}${face.uncertain ? "?" : ""}`;
    const wide = pen.measureText(name).width + 10 * unit;
    const top = Math.max(0, y - 22 * unit);
    const left = Math.max(0, Math.min(x, answer.width - wide));
    pen.strokeStyle = pen.fillStyle = colour(face.expression);
    pen.lineWidth = 2.5 * unit;
    pen.strokeRect(x, y, width, height);
    pen.fillRect(left, top, wide, 22 * unit);
    pen.fillStyle = inkOn(colour(face.expression));
    pen.fillText(name, left + 5 * unit, top + 16 * unit);
  });
  canvas.setAttribute("aria-label", answer.faces.map((face) => face.expression).join(", ") || "no face");
  fill(true);
}

function fill(full) {
  canvas.hidden = !full;
  of("hint").hidden = full;
  stage.classList.toggle("full", full);
}

function list(answer) {
  of("faces").replaceChildren(...answer.faces.map((face, number) => {
    const item = document.createElement("li");
    const title = document.createElement("h2");
    title.textContent = `${number + 1}. ${face.expression}${face.uncertain ? ", uncertain" : ""}`;
    item.append(title, ...Object.entries(face.probabilities).filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]).map(([name, share]) => {
      const row = document.createElement("div");
      row.className = "bar";
      const [label, bar, value] = [document.createElement("span"), document.createElement("i"), document.createElement("b")];
      [label.textContent, value.textContent] = [name, percent(share)];
      bar.style.setProperty("--p", share);
      bar.style.setProperty("--c", colour(name));
      row.append(label, bar, value);
      return row;
    }));
    return item;
  }));
}

const counted = (faces) => (faces.length === 1 ? "1 face" : `${faces.length || "no"} faces`);

async function show(picture) {
  stop();
  shown = picture;
  const late = () => shown !== picture; // another picture was chosen in the meantime
  say("…");
  of("faces").replaceChildren();
  fill(false);
  const began = performance.now();
  try {
    const answer = await asked(picture);
    const taken = Math.round(performance.now() - began);
    const image = await createImageBitmap(picture).catch(() => null);
    if (late()) return;
    list(answer);
    say(`${counted(answer.faces)} in ${taken} ms`);
    if (image) draw(image, answer);
    else say(`${counted(answer.faces)} in ${taken} ms; this browser cannot show such a picture.`);
  } catch (error) {
    if (!late()) say(error.message, true);
  }
}

async function start() {
  if (!navigator.mediaDevices) return say("Browsers open a camera only at https:// or localhost.", true);
  camera.disabled = true;
  shown = null;
  let own;
  try {
    const opened = await navigator.mediaDevices.getUserMedia({ video: true });
    if (shown) return opened.getTracks().forEach((track) => track.stop()); // a picture was chosen in the meantime
    own = stream = opened;
    own.getVideoTracks()[0].addEventListener("ended", stop);
    video.srcObject = own;
    await video.play();
  } catch (error) {
    stop();
    return say(`The camera cannot be opened: ${error.message}`, true);
  } finally {
    camera.disabled = false;
  }
  camera.textContent = "Stop the camera";
  const still = document.createElement("canvas");
  let [spread, failed] = [0, 0];
  while (stream === own) {
    const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
    [still.width, still.height] = [video.videoWidth * scale, video.videoHeight * scale];
    still.getContext("2d").drawImage(video, 0, 0, still.width, still.height);
    const picture = await new Promise((done) => still.toBlob(done, "image/jpeg", 0.85));
    const began = performance.now();
    try {
      const answer = await asked(picture);
      if (stream !== own) break;
      const taken = performance.now() - began;
      spread = spread ? 0.9 * spread + 0.1 * taken : taken;
      draw(still, answer);
      list(answer);
      failed = 0;
      // Said anew, it would be read aloud with every picture.
      if (status.textContent !== counted(answer.faces)) say(counted(answer.faces));
      of("rate").textContent = `${Math.round(1000 / spread)} pictures a second`;
    } catch (error) {
      if (stream !== own) break;
      failed += 1;
      if (failed === PATIENCE) stop();
      say(error.message, true);
      await new Promise((done) => setTimeout(done, 1000));
    }
    await new Promise(requestAnimationFrame);
  }
}

function stop() {
  if (!stream) return;
  stream.getTracks().forEach((track) => track.stop());
  stream = video.srcObject = null;
  camera.textContent = "Start the camera";
  of("rate").textContent = "";
}

function take(files) {
  const file = [...files].find((one) => one.type.startsWith("image/") || one.type === "");
  if (file) show(file);
  else if (files.length) say("That is no picture.", true);
}

of("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // the same file may be chosen again
  if (file) show(file);
});
of("whole").addEventListener("change", () => shown && show(shown));
camera.addEventListener("click", () => (stream ? stop() : start()));
document.addEventListener("paste", (event) => {
  take(event.clipboardData.files);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    stage.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}

try {
  const about = await (await fetch("model")).json();
  limit = about.limit;
  of("model").textContent = `${about.model}: ${about.labels.join(", ")}`;
  of("meaning").textContent = about.meaning;
  of("licence").textContent = about.licence;
} catch {
  say("The server does not answer.", true);
}
