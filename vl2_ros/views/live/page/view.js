// The live page. Whatever comes from the node is inserted as text, never as markup.

const MOST_ANSWERS = 20;
const RECONNECT_MS = 1000;
const find = (id) => document.getElementById(id);
const stage = find("stage"), canvas = find("image"), drawn = find("drawn");
const pen = canvas.getContext("2d", { alpha: false });

let socket = null;
let size = { width: 640, height: 480 };  // of the camera image, in its own pixels
let marks = [];                          // what the next sentence points at
let start = null;                        // first corner of the box that is being drawn
let cursor = null;                       // position of the keyboard in the image

// --- the stream

function connect() {
  const token = new URLSearchParams({ token: decodeURIComponent(location.hash.slice(1)) });
  socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/live?${token}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) =>
    typeof event.data === "string" ? showDocument(JSON.parse(event.data)) : showFrame(event.data);
  socket.onclose = (event) => {
    find("node").textContent = event.reason || "not connected: vl2 has ended, or this is not the URL that it printed";
    setTimeout(connect, RECONNECT_MS);
  };
}

function send(command) {
  if (socket.readyState !== WebSocket.OPEN) return showError("not connected");
  socket.send(JSON.stringify(command));
}

async function showFrame(data) {
  const length = new DataView(data).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  try {
    const image = await createImageBitmap(new Blob([data.slice(4 + length)], { type: "image/jpeg" }));
    if (canvas.width !== image.width || canvas.height !== image.height) {
      canvas.width = image.width;
      canvas.height = image.height;
    }
    if (size.width !== header.width || size.height !== header.height) {
      size = { width: header.width, height: header.height };
      clearMarks();
    }
    pen.drawImage(image, 0, 0);
    image.close();
    find("waiting").hidden = true;
    find("age").hidden = header.age_s === null;
    find("age").textContent = `result ${header.age_s?.toFixed(1)} s old`;
    document.body.dataset.frames = header.number;
  } finally {
    // Not before it is visible: a page in the background asks for nothing.
    requestAnimationFrame(() => send({ type: "shown" }));
  }
}

// --- documents

function showDocument(one) {
  if (one.type === "state") showState(one);
  else if (one.type === "answer") showAnswer(one);
  else if (one.type === "error") showError(one.message);
}

function showError(message) {
  find("error").textContent = message;
}

function showState(state) {
  find("node").textContent = state.summary;
  find("waiting").textContent = state.waiting;
  fill(find("rates"), state.rates.map(([name, hz]) => [name, `${hz.toFixed(1)} /s`]));
  fill(find("stages"), state.stages.map(([name, ms]) => [name, `${ms.toFixed(1)} ms`]));
}

function fill(list, rows) {
  list.replaceChildren(...rows.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

function make(tag, text, name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = name;
  return element;
}

function showAnswer(answer) {
  const list = find("answers");
  const before = [...list.children].find((item) => item.dataset.id === answer.id);
  const item = make("li", "", answer.is_bad ? "bad" : answer.is_live ? "live" : "");
  item.dataset.id = answer.id;
  item.dataset.status = answer.status;
  item.append(make("p", answer.question, "question"), make("p", answer.text, "text"));
  if (answer.found.length) item.append(make("p", answer.found.join(", "), "found"));
  item.append(make("p", answer.facts.join(" · "), "facts"));
  if (answer.is_live) item.append(makeStop(answer));
  for (const [name, source] of answer.images) {
    const image = make("img", "");
    image.alt = name;
    image.src = source;
    item.append(image);
  }
  const hadFocus = before?.contains(document.activeElement);
  if (before) before.replaceWith(item);
  else list.prepend(item);
  if (hadFocus) item.querySelector("button")?.focus();
  while (list.children.length > MOST_ANSWERS) list.lastElementChild.remove();
  find("no-answers").hidden = true;
}

function makeStop(answer) {
  const button = make("button", "Stop", "small");
  button.type = "button";
  button.setAttribute("aria-label", `Stop: ${answer.question}`);
  button.onclick = () => send({ type: "stop", id: answer.id });
  return button;
}

// --- commands

function sendSentence(type) {
  const field = find("sentence");
  if (!field.reportValidity()) return;
  showError("");
  send({ type, text: field.value, prompts: marks });
  clearMarks();
}

find("command").onsubmit = (event) => {
  event.preventDefault();
  sendSentence("ask");
};
find("watch").onclick = () => sendSentence("watch");
find("clear").onclick = clearMarks;

// --- marks: points and boxes in pixels of the camera image

function tool() {
  return document.querySelector("input[name=tool]:checked").value;
}

function place(event) {
  // The canvas may be narrower than its element, as it keeps its shape.
  const box = canvas.getBoundingClientRect();
  const scale = Math.min(box.width / size.width, box.height / size.height);
  const left = box.left + (box.width - size.width * scale) / 2;
  const top = box.top + (box.height - size.height * scale) / 2;
  return keepInside((event.clientX - left) / scale, (event.clientY - top) / scale);
}

function keepInside(x, y) {
  const limit = (value, most) => Math.round(Math.min(Math.max(value, 0), most) * 10) / 10;
  return [limit(x, size.width), limit(y, size.height)];
}

function orderCorners([x1, y1], [x2, y2]) {
  return [[Math.min(x1, x2), Math.min(y1, y2)], [Math.max(x1, x2), Math.max(y1, y2)]];
}

function addBox(first, second) {
  const [low, high] = orderCorners(first, second);
  // A click without a drag is no box.
  if (high[0] - low[0] >= 1 && high[1] - low[1] >= 1) marks.push({ kind: "box", points: [low, high] });
}

function clearMarks() {
  marks = [];
  start = null;
  drawMarks();
}

function drawMarks(open = null) {
  drawn.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  const shapes = marks.map(({ kind, points }) => drawShape(kind, points));
  if (open) shapes.push(drawShape("box", orderCorners(...open)));
  if (cursor) shapes.push(drawCursor());
  drawn.replaceChildren(...shapes);
  find("marks").replaceChildren(...marks.map(makeMark));
  find("clear").hidden = !marks.length;
}

function drawShape(kind, points) {
  const [[x, y]] = points;
  if (kind === "point") return makeShape("circle", { cx: x, cy: y, r: size.width / 120 });
  const [, [right, bottom]] = points;
  return makeShape("rect", { x, y, width: right - x, height: bottom - y });
}

function drawCursor() {
  const [x, y] = cursor, arm = size.width / 40;
  const shape = makeShape("path", { d: `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}` });
  shape.setAttribute("class", "cursor");
  return shape;
}

function makeShape(tag, attributes) {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
  return shape;
}

function makeMark(mark, index) {
  const item = make("li", "");
  const where = mark.points.map((point) => point.map(Math.round).join(",")).join(" to ");
  const button = make("button", `${mark.kind} ${where} ×`, "small");
  button.type = "button";
  button.setAttribute("aria-label", `Remove ${mark.kind} ${where}`);
  button.onclick = () => {
    marks.splice(index, 1);
    drawMarks();
  };
  item.append(button);
  return item;
}

for (const choice of document.querySelectorAll("input[name=tool]")) {
  choice.onchange = () => {
    start = null;
    stage.classList.toggle("pointing", tool() !== "");
    drawMarks();
  };
}

stage.onpointerdown = (event) => {
  if (!tool() || event.button) return;
  cursor = null;
  start = place(event);
  stage.setPointerCapture(event.pointerId);
};
stage.onpointermove = (event) => {
  if (start && tool() === "box") drawMarks([start, place(event)]);
};
stage.onpointerup = (event) => {
  if (!start) return;
  if (tool() === "point") marks.push({ kind: "point", points: [place(event)] });
  else addBox(start, place(event));
  start = null;
  drawMarks();
};
stage.onpointercancel = () => {
  start = null;
  drawMarks();
};

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

stage.onkeydown = (event) => {
  if (!tool()) return;
  cursor ??= [size.width / 2, size.height / 2];
  if (event.key in ARROWS) {
    const [x, y] = ARROWS[event.key], step = event.shiftKey ? 1 : size.width / 64;
    cursor = keepInside(cursor[0] + x * step, cursor[1] + y * step);
  } else if (event.key === "Enter" || event.key === " ") {
    if (tool() === "point") marks.push({ kind: "point", points: [cursor] });
    else if (start) addBox(start, cursor);
    start = tool() === "box" && !start ? cursor : null;
  } else if (event.key === "Escape") {
    start = cursor = null;
  } else return;
  event.preventDefault();
  drawMarks(start && cursor ? [start, cursor] : null);
};

connect();
